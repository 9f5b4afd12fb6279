//! `cluster-kubeconfig NAME`: writes a kubeconfig that works without a browser, and tests it.
//!
//! 1. Checks that Omni has the cluster.
//! 2. Creates the file with omnictl: with the token of a service account, which expires, or with --user for a login in a browser.
//! 3. Writes it with mode 0600, or merges it into the kubeconfig that kubectl reads.
//! 4. Runs `kubectl get nodes` with it, if kubectl is installed and no browser is needed.

use std::time::{Duration, SystemTime};

use crate::cli::ClusterKubeconfig;
use crate::flow::cluster_access::{self, Access};
use crate::flow::{change, cluster};
use crate::prelude::*;
use domain::clock::rfc3339;
use domain::spec::name;
use runtime::paths::path_to_paste;

/// The longest lifetime that Omni grants (omni v1.9.3 `external.ServiceAccountTokenLifetime`).
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

pub fn run(args: &ClusterKubeconfig, cx: &Cx) -> anyhow::Result<Outcome> {
    let name = &args.name;
    name::check_existing("cluster", name)?;
    if args.ttl.is_zero() || args.ttl > MAX_TTL {
        let failure =
            Failure::new(Code::Usage, format!("Omni does not grant a lifetime of --ttl {} s", args.ttl.as_secs()));
        return Err(failure.hint("use between 1s and 8760h, e.g. --ttl 24h").into());
    }
    let omnictl = change::omnictl(cx)?;
    cluster::check_exists(cx, &omnictl, name)?;
    let file = match (&args.file, args.merge) {
        (Some(file), _) => file.clone(),
        (None, true) => cluster_access::kubectl_config()?,
        (None, false) => cluster_access::default_file(cx, name, "kubeconfig"),
    };
    let expires = (!args.user).then(|| rfc3339(SystemTime::now() + args.ttl));
    let access = Access {
        kind: "kubeconfig",
        cluster: name.clone(),
        flags: flags(args),
        file,
        merge: args.merge,
        force: args.force,
        effect: match &expires {
            Some(expires) => {
                format!(
                    "access to cluster `{name}` as {} ({}) until {expires}",
                    args.service_account,
                    args.groups.join(", ")
                )
            }
            None => format!("access to cluster `{name}` with your own login, through a browser"),
        },
    };
    let data = json!({ "cluster": name, "file": access.file, "expires": expires, "groups": args.groups });
    let plan = cluster_access::plan(cx, &omnictl, &access)?;
    match args.merge {
        true => plan.carry_out(cx, &format!("Merge access to cluster `{name}` as shown"), &data)?,
        false => plan.carry_out_unasked(cx, &data)?,
    }
    if args.user {
        cx.ui.note("nodes", "Read the nodes from Kubernetes", Status::Skipped, "it needs a login in a browser");
    } else {
        check_nodes(cx, &access)?;
    }
    let kubectl = match args.merge {
        true => "kubectl get nodes".to_owned(),
        false => format!("kubectl --kubeconfig {} get nodes", path_to_paste(&access.file)),
    };
    Ok(Outcome::done(format!("`{}` gives access to cluster `{name}`", cx.paths.show(&access.file)))
        .with(data)
        .next(kubectl)
        // The web page of a cluster since 1.4 (omni v1.4.9 and v1.9.3 `frontend/src/router/index.ts`).
        .next(format!("open it in a browser: {}/clusters/{name}", omnictl.endpoint())))
}

/// Returns the flags for omnictl.
fn flags(args: &ClusterKubeconfig) -> Vec<String> {
    if args.user {
        return Vec::new();
    }
    let ttl = format!("{}s", args.ttl.as_secs().max(1));
    let words =
        ["--service-account", "--user", &args.service_account, "--groups", &args.groups.join(","), "--ttl", &ttl];
    words.map(str::to_owned).into()
}

/// Step 4: lists the nodes, and prints kubectl's output unchanged.
fn check_nodes(cx: &Cx, access: &Access) -> anyhow::Result<()> {
    let printed = cx.ui.step("nodes", "Read the nodes from Kubernetes", || {
        let asked = cluster_access::kubectl(cx, "reading the nodes from Kubernetes", &access.file, &["get", "nodes"])?;
        let Some(ended) = asked else { return Ok(StepResult::skipped(String::new(), "kubectl is not installed")) };
        if ended.is_success() {
            let count = ended.stdout.lines().count().saturating_sub(1);
            return Ok(StepResult::ok(ended.stdout, domain::words::count(count, "node")));
        }
        let why = ended.stderr.lines().last().unwrap_or("kubectl failed").to_owned();
        Ok(StepResult::warning(String::new(), format!("the file is written; Kubernetes did not answer: {why}")))
    })?;
    if !printed.is_empty() {
        cx.ui.print_data(printed.trim_end());
    }
    Ok(())
}
