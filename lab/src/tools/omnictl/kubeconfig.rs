//! `omnictl kubeconfig --service-account` (client/pkg/omnictl/kubeconfig.go).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use super::args::Kubeconfig;
use super::client::{Connection, OmnictlError};
use crate::go_errors::go_io;
use crate::omni::names::{CLUSTER, DEFAULT};
use crate::omni::resource::Key;

/// Writes a kubeconfig with the token of a service account, with the mode of the real program, 0640.
pub fn run(client: &mut Connection, call: &Kubeconfig) -> Result<(), OmnictlError> {
    let Kubeconfig { cluster, user, path, force, .. } = call;
    if !force && std::path::Path::new(path).exists() {
        return Err(OmnictlError::Message(format!(
            "kubeconfig file already exists, use --force to overwrite: {path:?}"
        )));
    }
    let found = client.find(&Key::new(CLUSTER, DEFAULT, cluster));
    if found.map_err(|why| why.wrap(&format!("failed to check if cluster '{cluster}' exists")))?.is_none() {
        return Err(OmnictlError::Message(format!("cluster not found: {cluster:?}")));
    }
    let context = format!("lab-{cluster}-{user}");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n  - cluster:\n      server: https://127.0.0.1:8100\n    name: {context}\n\
         contexts:\n  - context:\n      cluster: {context}\n      namespace: default\n      user: {context}\n    name: \
         {context}\ncurrent-context: {context}\nusers:\n  - name: {context}\n    user:\n      token: \
         lab-service-account-token\n"
    );
    let fail = |why: std::io::Error| format!("open {path}: {}", go_io(&why));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o640).open(path).map_err(fail)?;
    Ok(file.write_all(text.as_bytes()).map_err(fail)?)
}
