//! Resource pools, from v0.1.0 on: a machine is in the pool that its class names, or in a pool that the provider creates
//! for its request set and deletes when it is empty (omni-infra-provider-proxmox v0.2.0 provision.go: ensurePool,
//! cleanupPool).

use serde_json::{Value, json};

use super::Provider;

/// The comment that marks a pool as created by the provider.
const COMMENT: &str = "managed by omni-infra-provider-proxmox";

impl Provider {
    async fn find_pool(&self, pool: &str) -> Result<Option<Value>, String> {
        let list = self.pve.get("/pools").await;
        let list = list.map_err(|why| format!("failed to list proxmox pools: {why}"))?;
        Ok(list.as_array().into_iter().flatten().find(|entry| entry["poolid"] == pool).cloned())
    }

    /// Makes sure that a pool exists: creates it if it is named after the request set, otherwise fails if it is missing.
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
        self.log(request, "info", "provider/provision.go:741", "creating proxmox pool", &[("pool", pool.into())]);
        self.pve.call("POST", "/pools", Some(&json!({"poolid": pool, "comment": COMMENT}))).await.map(drop)
    }

    /// Deletes a pool without members if the provider created it. Errors are ignored.
    pub(super) async fn clean_pool(&self, request: &str, pool: &str) {
        let own = self.find_pool(pool).await.ok().flatten().is_some_and(|found| found["comment"] == COMMENT);
        let path = format!("/pools/{pool}");
        if own
            && let Ok(detail) = self.pve.get(&path).await
            && detail["members"].as_array().is_some_and(Vec::is_empty)
            && self.pve.call("DELETE", &path, None).await.is_ok()
        {
            let text = "deleted empty proxmox pool";
            self.log(request, "info", "provider/provision.go:784", text, &[("pool", pool.into())]);
        }
    }
}
