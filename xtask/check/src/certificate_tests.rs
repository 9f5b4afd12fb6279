use super::*;

/// 22 Dec 2026, a month after the fixtures were made.
const NOW: u64 = 1_797_897_600;

fn fixture(name: &str) -> &'static str {
    macro_rules! files {
        ($($name:literal),*) => {
            match name {
                $($name => include_str!(concat!("../../tests/fixtures/certificates/", $name)),)*
                _ => panic!("no fixture {name}"),
            }
        };
    }
    files!("leaf.pem", "inter.pem", "root.pem", "self.pem", "leaf-key.b64", "self-key.b64")
}

fn chain(names: &[&str]) -> Vec<Certificate> {
    read_pem(&names.iter().map(|name| fixture(&format!("{name}.pem"))).collect::<String>()).unwrap()
}

fn key(name: &str, label: &str) -> String {
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", fixture(&format!("{name}-key.b64")))
}

/// Returns the first fault, else the first warning, else nothing.
fn verdict(names: &[&str], host: &str, roots: Option<&[Certificate]>, now: u64) -> String {
    let found = check_chain(&chain(names), host, roots, now);
    let first = found.faults.iter().map(|(what, _)| format!("fault: {what}"));
    first.chain(found.warnings.iter().map(|(what, _)| format!("warning: {what}"))).next().unwrap_or_default()
}

#[test]
fn certificate_fields_match_openssl() {
    let leaf = &chain(&["leaf"])[0];
    assert_eq!(leaf.name(), "omni.example.com");
    assert_eq!(leaf.names(), "omni.example.com, *.hub.example.com, 192.0.2.10, 2001:db8::1");
    assert_eq!((leaf.not_before, leaf.not_after), (1_795_320_019, 1_803_096_019));
    assert!(!leaf.authority && !leaf.is_self_signed());
    let own = &chain(&["self"])[0];
    assert_eq!(clock::date(own.not_after), "2081-08-25", "a GeneralizedTime");
    assert!(own.is_self_signed() && chain(&["inter"])[0].authority);
}

#[test]
fn names_are_compared_as_clients_do() {
    let leaf = &chain(&["leaf"])[0];
    for host in ["omni.example.com", "OMNI.example.com.", "a.hub.example.com", "192.0.2.10", "2001:db8::1"] {
        assert!(leaf.covers(host), "{host}");
    }
    for host in ["example.com", "a.b.hub.example.com", "hub.example.com", "192.0.2.11", "xomni.example.com"] {
        assert!(!leaf.covers(host), "{host}");
    }
}

/// `corpus/chains.tsv`
#[test]
fn certificate_chain_faults_are_reported() {
    let root = chain(&["root"]);
    for line in include_str!("../tests/corpus/chains.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [names, host, trusted, now, due] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let names: Vec<&str> = names.split(' ').filter(|name| *name != "-").collect();
        let roots = match trusted {
            "root" => Some(&root[..]),
            "none" => Some(&[][..]),
            _ => None,
        };
        let found = verdict(&names, host, roots, now.parse().unwrap());
        assert!(found.starts_with(due) && found.is_empty() == due.is_empty(), "{line}: {found}");
    }
    assert_eq!(check_chain(&chain(&["leaf", "inter"]), "omni.example.com", Some(&root), NOW).days_left, 60);
}

/// Clients build the shortest chain to a root that they trust; the rest may be anything.
#[test]
fn unused_certificates_are_ignored() {
    let host = "omni.example.com";
    let [leaf, inter, root] = ["leaf", "inter", "root"].map(|name| chain(&[name]).remove(0));
    let roots = [root.clone()];
    // The root, signed by an older one that has expired; the intermediate twice.
    let crossed = Certificate { issuer: b"older".to_vec(), not_after: NOW - 1, ..root.clone() };
    for more in [crossed.clone(), inter.clone(), leaf.clone()] {
        let found = check_chain(&[leaf.clone(), inter.clone(), more], host, Some(&roots), NOW);
        assert!(found.faults.is_empty() && found.warnings.is_empty() && found.days_left == 60, "{found:?}");
    }
    let found = check_chain(&[leaf.clone(), inter.clone(), crossed], host, Some(&[]), NOW);
    assert!(found.faults[0].0.contains("`Test Root` expired"), "{found:?}");
    // Clients use an intermediate that has expired.
    let ended = Certificate { not_after: NOW - 1, ..inter.clone() };
    let found = check_chain(&[leaf.clone(), ended], host, Some(&roots), NOW);
    assert!(found.faults[0].0.contains("`Test Intermediate` expired") && found.days_left < 0, "{found:?}");
    // They also use a root that has expired, which is no longer trusted.
    let found = check_chain(&[leaf, inter], host, Some(&[Certificate { not_after: NOW - 1, ..root }]), NOW);
    assert!(found.warnings[0].0.contains("ends at `Test Root`"), "{found:?}");
}

#[test]
fn pem_is_read_like_omni() {
    let text = fixture("leaf.pem");
    let odd = [
        text.replace('\n', "\r\n"),
        format!("Bag Attributes\n    friendlyName: x\n{text}"),
        text.trim_end().to_owned(),
    ];
    for text in odd {
        assert_eq!(read_pem(&text).map(|found| found.len()), Ok(1), "{text}");
    }
    for (text, why) in [
        (text.replace("-----BEGIN", "  -----BEGIN"), "text before"),
        (format!("\u{feff}{text}"), "text before"),
        (text.replace(" CERTIFICATE", " TRUSTED CERTIFICATE"), "OpenSSL's own format"),
    ] {
        assert!(read_pem(&text).unwrap_err().contains(why), "{text}");
    }
    let leaf = &chain(&["leaf"])[0];
    let own = key("leaf", "PRIVATE KEY").replace('\n', "\r\n");
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    assert_eq!(key_matches(leaf, &format!("{parameters}{own}")), Ok(Some(true)));
    assert!(key_matches(leaf, &own.replace("-----BEGIN", " -----BEGIN")).unwrap_err().contains("no private key"));
}

#[test]
fn keys_are_distinguished() {
    let (leaf, own) = (&chain(&["leaf"])[0], &chain(&["self"])[0]);
    assert_eq!(key_matches(leaf, &key("leaf", "PRIVATE KEY")), Ok(Some(true)));
    assert_eq!(key_matches(own, &key("leaf", "PRIVATE KEY")), Ok(Some(false)));
    assert_eq!(key_matches(own, &key("self", "RSA PRIVATE KEY")), Ok(Some(true)));
    assert_eq!(key_matches(leaf, &key("self", "RSA PRIVATE KEY")), Ok(Some(false)));
    assert!(key_matches(leaf, &key("leaf", "ENCRYPTED PRIVATE KEY")).unwrap_err().contains("passphrase"));
    assert!(key_matches(leaf, fixture("leaf.pem")).unwrap_err().contains("no private key"));
}

#[test]
fn damage_is_refused_without_a_panic() {
    let der = chain(&["leaf"])[0].der.clone();
    for end in 0..der.len() {
        assert!(Certificate::parse(&der[..end]).is_err(), "cut at {end}");
        let mut bent = der.clone();
        bent[end] ^= 0xff;
        let _ = Certificate::parse(&bent);
    }
    assert!(read_pem("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----").is_err());
    assert_eq!(read_pem("nothing"), Ok(vec![]));
}
