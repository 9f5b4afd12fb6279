//! Resource pools, from v0.1.0 on: a machine is in the pool that its class names, or in one that the provider makes
//! for its request set and takes away again when it is empty (omni-infra-provider-proxmox v0.2.0 provision.go:
//! ensurePool, cleanupPool).

use serde_json::{Value, json};

use super::Provider;

/// What marks a pool as the provider's own.
const COMMENT: &str = "managed by omni-infra-provider-proxmox";

impl Provider {
    async fn find_pool(&self, pool: &str) -> Result<Option<Value>, String> {
        let list = self.pve.call("GET", "/pools", None).await;
        let list = list.map_err(|why| format!("failed to list proxmox pools: {why}"))?;
        Ok(list.as_array().into_iter().flatten().find(|entry| entry["poolid"] == pool).cloned())
    }

    /// The pool is there: one named after the request set is made, any other must exist.
    pub(super) async fn ensure_pool(&self, request: &str, pool: &str, set: &str) -> Result<(), String> {
        if self.find_pool(pool).await?.is_some() {
            return Ok(());
        }
        if pool != set {
            return Err(format!(
                "proxmox pool {pool:?} does not exist; create it in Proxmox or leave \"pool\" empty to use the machine \
                 request set id"
            ));
        }
        self.say(request, "info", "provider/provision.go:741", "creating proxmox pool", &[("pool", pool.into())]);
        self.pve.call("POST", "/pools", Some(&json!({"poolid": pool, "comment": COMMENT}))).await.map(drop)
    }

    /// An own pool without members goes. Whatever fails here is said and forgiven.
    pub(super) async fn clean_pool(&self, request: &str, pool: &str) {
        if pool.is_empty() {
            return;
        }
        let warn = |text: &str, why: String| {
            self.say(
                request,
                "warn",
                "provider/provision.go:753",
                text,
                &[("pool", pool.into()), ("error", why.into())],
            );
        };
        match self.find_pool(pool).await {
            Err(why) => return warn("failed to list proxmox pools during cleanup", why),
            Ok(Some(found)) if found["comment"] == COMMENT => {}
            Ok(_) => return,
        }
        let path = format!("/pools/{pool}");
        match self.pve.call("GET", &path, None).await {
            Err(why) => return warn("failed to load proxmox pool detail during cleanup", why),
            Ok(detail) if detail["members"].as_array().is_some_and(Vec::is_empty) => {}
            Ok(_) => return,
        }
        match self.pve.call("DELETE", &path, None).await {
            Err(why) => warn("failed to delete proxmox pool", why),
            Ok(_) => {
                let text = "deleted empty proxmox pool";
                self.say(request, "info", "provider/provision.go:784", text, &[("pool", pool.into())]);
            }
        }
    }
}
