//! `omnictl kubeconfig` and `omnictl talosconfig` (client/pkg/omnictl/kubeconfig.go, talosconfig.go).

use std::path::{Path, PathBuf};

use super::args::Parsed;
use super::client::{Client, Fail};
use crate::go_errors::go_io;
use crate::omni::names::{CLUSTER, DEFAULT};
use crate::omni::resource::Key;
use crate::tools::err;

/// Where a configuration goes, and whether it is merged into what is there.
fn target(parsed: &Parsed, name: &str, merged: &str) -> Result<(PathBuf, bool), Fail> {
    let merge = parsed.flags.get("merge").is_none_or(|value| value == "true");
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let mut path = match parsed.args.first() {
        Some(path) => PathBuf::from(path),
        None if merge => home().join(merged),
        None => PathBuf::from("."),
    };
    if path.is_dir() {
        path = path.join(name);
    } else if !path.exists()
        && let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        std::fs::create_dir_all(parent).map_err(|why| format!("mkdir {}: {}", parent.display(), go_io(&why)))?;
    }
    if path.exists() && !merge && !parsed.on("force") {
        return Err(Fail::Said(format!(
            "{name} file already exists, use --force to overwrite: {:?}",
            path.display().to_string()
        )));
    }
    let exists = path.exists();
    Ok((path, merge && exists))
}

/// Writes with the mode that the real program gives, 0640.
fn write(path: &Path, text: &str) -> Result<(), Fail> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fail = |why: std::io::Error| format!("open {}: {}", path.display(), go_io(&why));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o640).open(path).map_err(fail)?;
    Ok(file.write_all(text.as_bytes()).map_err(fail)?)
}

/// Adds the lists and the current context of one YAML configuration to another.
fn merged(path: &Path, new: &str, lists: &[&str]) -> Result<String, Fail> {
    let read = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).map_err(|why| format!("yaml: {why}"));
    let old = std::fs::read_to_string(path).map_err(|why| format!("open {}: {}", path.display(), go_io(&why)))?;
    let (mut out, new) = (read(&old)?, read(new)?);
    if !out.is_mapping() {
        out = serde_yaml::Value::Mapping(serde_yaml::Mapping::new());
    }
    for list in lists {
        let name = |entry: &serde_yaml::Value| entry.get("name").cloned();
        let mut entries = out.get(*list).and_then(|value| value.as_sequence()).cloned().unwrap_or_default();
        for entry in new.get(*list).and_then(|value| value.as_sequence()).into_iter().flatten() {
            entries.retain(|old| name(old) != name(entry));
            entries.push(entry.clone());
        }
        if let Some(map) = out.as_mapping_mut() {
            map.insert((*list).into(), entries.into());
        }
    }
    for key in ["current-context", "context", "apiVersion", "kind"] {
        if let (Some(map), Some(value)) = (out.as_mapping_mut(), new.get(key)) {
            map.insert(key.into(), value.clone());
        }
    }
    if let Some(contexts) = new.get("contexts").and_then(|value| value.as_mapping())
        && let Some(map) = out.as_mapping_mut()
    {
        let mut all = map.get("contexts").and_then(|value| value.as_mapping()).cloned().unwrap_or_default();
        all.extend(contexts.clone());
        map.insert("contexts".into(), all.into());
    }
    Ok(serde_yaml::to_string(&out).map_err(|why| why.to_string())?)
}

/// `kubeconfig`: for a person through OIDC, or with a service account's token.
pub fn kubeconfig(client: &mut Client, parsed: &Parsed) -> Result<(), Fail> {
    let cluster = parsed.text("cluster");
    let (path, merge) = target(parsed, "kubeconfig", ".kube/config")?;
    let found = client.find(&Key::new(CLUSTER, DEFAULT, cluster));
    let found = found.map_err(|why| why.wrap(&format!("failed to check if cluster '{cluster}' exists")))?;
    if found.is_none() {
        return Err(Fail::Said(format!("cluster not found: {cluster:?}")));
    }
    let service_account = parsed.on("service-account");
    if service_account && parsed.text("user").is_empty() {
        return Err(Fail::Said("--user flag is required when --service-account is set to true".to_owned()));
    }
    let context = match parsed.text("force-context-name") {
        "" if service_account => format!("lab-{cluster}-{}", parsed.text("user")),
        "" => format!("lab-{cluster}"),
        name => name.to_owned(),
    };
    let user = if service_account {
        "      token: lab-service-account-token\n".to_owned()
    } else {
        format!(
            "      exec:\n        apiVersion: client.authentication.k8s.io/v1beta1\n        command: kubectl\n        args:\n\
             {}        env: null\n        provideClusterInfo: false\n",
            ["oidc-login", "get-token", "--oidc-issuer-url=https://127.0.0.1/oidc", "--oidc-client-id=native"]
                .map(|arg| format!("        - {arg}\n"))
                .concat()
        )
    };
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n  - cluster:\n      server: https://127.0.0.1:8100\n    name: {context}\n\
         contexts:\n  - context:\n      cluster: {context}\n      namespace: default\n      user: {context}\n    name: \
         {context}\ncurrent-context: {context}\nusers:\n  - name: {context}\n    user:\n{user}"
    );
    if !merge {
        return write(&path, &text);
    }
    // A kubeconfig has contexts as a list, so only lists are merged.
    let text = merged(&path, &text, &["clusters", "contexts", "users"])?;
    write(&path, &text)
}

/// `talosconfig`: an unknown cluster is only warned of.
pub fn talosconfig(client: &mut Client, parsed: &Parsed) -> Result<(), Fail> {
    let cluster = parsed.text("cluster");
    let (path, merge) = target(parsed, "talosconfig", ".talos/config")?;
    if !cluster.is_empty() && client.find(&Key::new(CLUSTER, DEFAULT, cluster))?.is_none() {
        err(&format!("warning: cluster {cluster:?} does not exist\n"));
    }
    let context = if cluster.is_empty() { "lab".to_owned() } else { format!("lab-{cluster}") };
    let scope = if cluster.is_empty() { String::new() } else { format!("        cluster: {cluster}\n") };
    let text = format!(
        "context: {context}\ncontexts:\n    {context}:\n        endpoints:\n            - {}\n        auth:\n            \
         siderov1:\n                identity: automation@serviceaccount.omni.sidero.dev\n{scope}",
        client.endpoint
    );
    let text = if merge { merged(&path, &text, &[])? } else { text };
    write(&path, &text)
}
