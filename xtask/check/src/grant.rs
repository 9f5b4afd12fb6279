//! Checks the tailnet's policy for what tsidp and Omni need. How tsidp reads a grant is in tailscale/tsidp v0.0.12
//! `server/appcap.go`, `server/extraclaims.go` and `server/token.go`; that `email_verified` must be a boolean is in Omni v1.9.3
//! `internal/backend/oidc`.
//!
//! 1. Some grant has the capability `tailscale.com/cap/tsidp` on tsidp, spelled exactly like this.
//! 2. Everyone who logs in gets `extraClaims: {"email_verified": true}`, and no claim that breaks every token.
//! 3. Users and Omni's own node can reach tcp:443 of tsidp.
//! 4. Only administrators can open the pages that create clients.
//! 5. Every tag has an owner, or Tailscale refuses the policy.
//! 6. Users can reach Omni's node, if it has its tag.

use std::collections::BTreeMap;

use domain::nearest::nearest;
use yaml::{Entry, Finding, Node, Position, Value};

/// The capability that tsidp reads.
pub const CAPABILITY: &str = "tailscale.com/cap/tsidp";

/// The fields that tsidp reads in a rule of the capability.
const FIELDS: [&str; 6] = ["includeInUserInfo", "extraClaims", "users", "resources", "allow_admin_ui", "allow_dcr"];

/// Claims that tsidp sets itself: any of them in `extraClaims` makes every request for a token fail with 400.
const PROTECTED: &str = "sub aud exp iat iss jti nbf username email key addresses nid node tailnet tags user uid nonce";

/// Checks the policy in `root`: a whole policy, its list of grants, or a single grant. `user` must be able to log in.
pub fn lint(file: &str, root: &Node, user: Option<&str>) -> Vec<Finding> {
    let whole = root.get("grants").is_some() || root.get("acls").is_some() || root.get("tagOwners").is_some();
    let grants: Vec<&Node> = match () {
        () if whole => root.get("grants").map(|grants| grants.items().iter().collect()).unwrap_or_default(),
        () if root.is_map() => vec![root],
        () => root.items().iter().collect(),
    };
    let mut policy = Policy { file, root, findings: Vec::new() };
    let rules = policy.collect_rules(&grants);
    policy.check_claims(&rules, user);
    policy.check_admin_pages(&rules);
    if whole {
        policy.check_network(&grants, &rules);
        policy.check_omni_access(&grants);
        policy.check_tag_owners(&grants);
    }
    policy.findings.sort_by_key(|finding| (finding.place.line, finding.place.column));
    policy.findings
}

/// A rule of the capability, with its grant.
struct GrantRule<'a> {
    grant: &'a Node,
    rule: &'a Node,
}

struct Policy<'a> {
    file: &'a str,
    root: &'a Node,
    findings: Vec<Finding>,
}

impl<'a> Policy<'a> {
    fn error(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::error(rule, at.in_file(self.file), message, fix));
    }

    fn warning(&mut self, rule: &'static str, at: Position, message: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding::warning(rule, at.in_file(self.file), message, fix));
    }

    /// Step 1: collects the rules of the capability and checks how they are written.
    fn collect_rules(&mut self, grants: &[&'a Node]) -> Vec<GrantRule<'a>> {
        let mut found = Vec::new();
        let mut misspelt = false;
        for grant in grants {
            for entry in grant.get("app").map(Node::entries).unwrap_or_default() {
                if entry.key == CAPABILITY {
                    self.collect_rules_of_entry(grant, entry, &mut found);
                } else if entry.key.contains("tsidp") || nearest(&entry.key, [CAPABILITY]).is_some() {
                    misspelt = true;
                    let message = format!("tsidp ignores `{}`", entry.key);
                    self.error("grant-capability", entry.at, message, format!("write it `{CAPABILITY}`"));
                }
            }
        }
        if found.is_empty() && !misspelt {
            let message = "no grant contains tsidp's capability: logins get no extra claims, and no user can open tsidp's admin page";
            let fix =
                format!("add a grant with \"app\": {{\"{CAPABILITY}\": [{{…}}]}}; you can merge tsidp/grant.json");
            self.error("grant-capability", self.root.at, message, fix);
        }
        found
    }

    fn collect_rules_of_entry(&mut self, grant: &'a Node, entry: &'a Entry, found: &mut Vec<GrantRule<'a>>) {
        if entry.value.items().is_empty() {
            let message = format!("the value of `{CAPABILITY}` is not a list of rules");
            self.error("grant-capability", entry.value.at, message, "write a list: [{\"extraClaims\": {…}}]");
        }
        for rule in entry.value.items() {
            for field in rule.entries() {
                if FIELDS.contains(&field.key.as_str()) {
                    continue;
                }
                let message = format!("tsidp does not know `{}` in a rule and ignores it", field.key);
                let fix = match nearest(&field.key, FIELDS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if field.key == "email_verified" => {
                        "put it under extraClaims: {\"extraClaims\": {\"email_verified\": true}}".to_owned()
                    }
                    None => format!("known here: {}", FIELDS.join(", ")),
                };
                self.error("grant-field", field.at, message, fix);
            }
            found.push(GrantRule { grant, rule });
        }
    }

    /// Step 2.
    fn check_claims(&mut self, rules: &[GrantRule<'a>], user: Option<&str>) {
        let mut values: BTreeMap<&str, &Node> = BTreeMap::new();
        let mut verified = Vec::new();
        for GrantRule { grant, rule } in rules {
            for claim in rule.get("extraClaims").map(Node::entries).unwrap_or_default() {
                let name = claim.key.as_str();
                if PROTECTED.split(' ').any(|claim| claim == name) {
                    let message =
                        format!("`{name}` is a claim that tsidp sets itself: every token request fails with 400");
                    self.error("grant-protected-claim", claim.at, message, "remove it");
                }
                if claim.value.is_map() {
                    let message = format!("the claim `{name}` is an object, which tsidp ignores");
                    self.warning("grant-claim-type", claim.value.at, message, "use text, a number, true or a list");
                }
                if let Some(first) = values.insert(name, &claim.value)
                    && first.scalar().map(|s| &s.text) != claim.value.scalar().map(|s| &s.text)
                {
                    let message = format!(
                        "the claim `{name}` has a different value at line {}: which value a user gets is undefined",
                        first.at.line
                    );
                    self.error("grant-claim-conflict", claim.at, message, "give it one value in all grants");
                }
                if name == "email_verified" {
                    match claim.value.value() {
                        Some(Value::Bool(true)) => verified.push(*grant),
                        _ => self.error(
                            "grant-email-verified",
                            claim.value.at,
                            "`email_verified` must be the boolean true: Omni rejects text and false with `invalid jwt`",
                            "write \"email_verified\": true, without quotes",
                        ),
                    }
                }
            }
        }
        let wrong = self.findings.iter().any(|finding| finding.rule == "grant-email-verified");
        if verified.is_empty() && !rules.is_empty() && !wrong {
            let message = "no rule adds the claim `email_verified`: Omni rejects every login with `invalid jwt`";
            let fix = "add \"extraClaims\": {\"email_verified\": true} to the rule for everyone who logs in";
            self.error("grant-email-verified", rules[0].rule.at, message, fix);
        }
        if !verified.is_empty() {
            self.check_claim_sources(&verified, user);
        }
    }

    /// Checks that the claim applies to everyone who logs in. It comes from the user's device, and tagged devices have no user.
    fn check_claim_sources(&mut self, verified: &[&'a Node], user: Option<&str>) {
        let sources: Vec<&str> = verified.iter().flat_map(|grant| texts(grant, "src")).collect();
        let at = verified[0].get("src").map_or(verified[0].at, |src| src.at);
        if sources.iter().all(|source| source.starts_with("tag:")) {
            let fix = "give it to users: autogroup:member, or one of your groups";
            self.error("grant-src", at, "the claim applies only to tagged devices, which tsidp does not log in", fix);
            return;
        }
        let narrow = |source: &&str| ["autogroup:admin", "autogroup:owner"].contains(source);
        if sources.iter().all(|source| narrow(source) || source.starts_with("tag:")) {
            let message = "only tailnet administrators get the claim: Omni rejects everyone else";
            self.warning("grant-src", at, message, "give it to everyone who uses Omni, e.g. autogroup:member");
        }
        let Some(user) = user else { return };
        if self.covers(&sources, user) == Some(false) {
            let message = format!("{user} (OMNI_INITIAL_USER) does not get the claim");
            self.error("grant-user", at, message, "add the address, or its group, to src");
        }
    }

    /// Returns whether `user` is among `sources`; `None` if only Tailscale knows.
    fn covers(&self, sources: &[&str], user: &str) -> Option<bool> {
        let user = login_name(user);
        let mut unknown = false;
        for source in sources {
            let whole_domain = source.strip_prefix("user:*@");
            if *source == "*"
                || source.eq_ignore_ascii_case(user)
                || whole_domain.is_some_and(|domain| user.split_once('@').is_some_and(|(_, own)| own == domain))
            {
                return Some(true);
            }
            if source.starts_with("group:") {
                match self.root.path(&["groups", source]) {
                    Some(group)
                        if group.items().iter().filter_map(Node::text).any(|each| each.eq_ignore_ascii_case(user)) =>
                    {
                        return Some(true);
                    }
                    Some(_) => {}
                    None => unknown = true,
                }
            } else if !source.starts_with("tag:") && !source.contains('@') && *source != "autogroup:tagged" {
                // An autogroup, an address, or a host of the policy.
                unknown = true;
            }
        }
        if unknown { None } else { Some(false) }
    }

    /// Step 4.
    fn check_admin_pages(&mut self, rules: &[GrantRule<'a>]) {
        for GrantRule { grant, rule } in rules {
            let everyone = texts(grant, "src").iter().any(|source| ["*", "autogroup:member"].contains(source));
            for field in ["allow_admin_ui", "allow_dcr"] {
                let Some(entry) = rule.entry(field) else { continue };
                match entry.value.value() {
                    Some(Value::Bool(true)) if everyone => {
                        let message = format!("`{field}` for everyone: any user can create and read tsidp clients");
                        self.warning("grant-admin", entry.at, message, "limit it to autogroup:admin");
                    }
                    Some(Value::Bool(_)) => {}
                    _ => self.error(
                        "grant-field",
                        entry.value.at,
                        format!("`{field}` must be true or false"),
                        "write true",
                    ),
                }
            }
        }
    }

    /// Returns the sources that can reach tcp:443 of a destination: network grants and the older ACLs both count.
    fn sources(&self, grants: &[&'a Node], own: &[&str]) -> Vec<&'a str> {
        let mut sources: Vec<&str> = Vec::new();
        for grant in grants {
            let leads = texts(grant, "dst").iter().any(|place| may_be_tsidp(place, own));
            if leads && texts(grant, "ip").iter().any(|port| opens_https(port)) {
                sources.extend(texts(grant, "src"));
            }
        }
        for acl in self.root.get("acls").map(Node::items).unwrap_or_default() {
            let opens = |place: &str| {
                place.rsplit_once(':').is_some_and(|(place, ports)| may_be_tsidp(place, own) && opens_https(ports))
            };
            let proto = acl.get("proto").and_then(Node::text).is_none_or(|proto| matches!(proto, "tcp" | "6"));
            // The oldest form uses the keys `ports` and `users`.
            let places = texts(acl, "dst").into_iter().chain(texts(acl, "ports")).any(opens);
            if acl.get("action").and_then(Node::text) == Some("accept") && proto && places {
                sources.extend(texts(acl, "src"));
                sources.extend(texts(acl, "users"));
            }
        }
        sources
    }

    /// Step 3, for the destinations of the capability's own rules.
    fn check_network(&mut self, grants: &[&'a Node], rules: &[GrantRule<'a>]) {
        let own: Vec<&str> = rules.iter().flat_map(|rule| texts(rule.grant, "dst")).collect();
        let sources = self.sources(grants, &own);
        let fix = "add {\"src\": [\"autogroup:member\", \"tag:omni\"], \"dst\": [\"tag:idp\"], \"ip\": [\"tcp:443\"]}";
        if sources.is_empty() {
            self.error("grant-network", self.root.at, "no user can reach tcp:443 of tsidp", fix);
            return;
        }
        let tagged = |source: &str| source.starts_with("tag:") || source == "autogroup:tagged";
        // An address, or a host of the policy, may be a device of either kind.
        let device =
            |source: &str| source == "*" || !(source.contains('@') || source.contains("group:") || tagged(source));
        if !sources.iter().any(|source| tagged(source) || device(source)) {
            let message = "no tagged device can reach tcp:443 of tsidp: Omni's node is tagged, contacts tsidp when it starts, and exits if it gets no response";
            self.error("grant-network", self.root.at, message, fix);
        }
        if sources.iter().all(|source| tagged(source)) {
            self.error("grant-network", self.root.at, "no user may reach tcp:443 of tsidp to log in", fix);
        }
    }

    /// Step 6.
    fn check_omni_access(&mut self, grants: &[&'a Node]) {
        let Some(tag) = self.root.get("tagOwners").and_then(|tags| tags.entry("tag:omni")) else { return };
        if self.sources(grants, &["tag:omni"]).is_empty() {
            let fix =
                "add {\"src\": [\"autogroup:member\"], \"dst\": [\"tag:omni\"], \"ip\": [\"tcp:443\", \"tcp:8100\"]}";
            self.warning("grant-omni", tag.at, "no user can reach Omni (tcp:443 of tag:omni) over the tailnet", fix);
        }
    }

    /// Step 5.
    fn check_tag_owners(&mut self, grants: &[&'a Node]) {
        let mut seen: Vec<&str> = Vec::new();
        for grant in grants {
            for list in ["src", "dst"] {
                for item in grant.get(list).map(Node::items).unwrap_or_default() {
                    let Some(tag) = item.text().filter(|text| text.starts_with("tag:") && !seen.contains(text)) else {
                        continue;
                    };
                    seen.push(tag);
                    if self.root.path(&["tagOwners", tag]).is_none() {
                        let fix = format!("add \"{tag}\": [\"autogroup:admin\"] to tagOwners");
                        self.error(
                            "grant-tag-owner",
                            item.at,
                            format!("`{tag}` has no owner: Tailscale rejects it"),
                            fix,
                        );
                    }
                }
            }
        }
    }
}

/// Returns a user's Tailscale login: tsidp reports `octo@github` of a tailnet on GitHub as `octo@github.` plus its own name.
fn login_name(user: &str) -> &str {
    let end = ["@github.", "@passkey."].iter().find_map(|kind| Some(user.find(kind)? + kind.len() - 1));
    end.map_or(user, |end| &user[..end])
}

/// Returns true if a destination may be tsidp. `own` are the destinations of the capability's grants; another tag is not tsidp.
fn may_be_tsidp(place: &str, own: &[&str]) -> bool {
    let tag = |place: &str| place.starts_with("tag:");
    own.is_empty() || own.contains(&place) || !tag(place) || !own.iter().all(|place| tag(place))
}

/// Returns the strings in a list of a grant.
fn texts<'a>(grant: &'a Node, key: &str) -> Vec<&'a str> {
    grant.get(key).map(Node::items).unwrap_or_default().iter().filter_map(Node::text).collect()
}

/// Returns true if `tcp:443`, `443`, `tcp:*`, `*` or `400-500` lets HTTPS through.
fn opens_https(ports: &str) -> bool {
    let ports = match ports.split_once(':') {
        Some(("tcp" | "6", ports)) => ports,
        Some(_) => return false,
        None => ports,
    };
    ports.split(',').any(|part| match part.trim().split_once('-') {
        Some((low, high)) => match (low.parse::<u16>(), high.parse::<u16>()) {
            (Ok(low), Ok(high)) => (low..=high).contains(&443),
            _ => false,
        },
        None => matches!(part.trim(), "*" | "443"),
    })
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
