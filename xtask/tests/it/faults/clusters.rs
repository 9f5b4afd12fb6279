//! Faults of clusters.

use super::story::says;

stories! {
    cluster_sync_cut "cluster-sync-cut": says(&["does not answer", "it failed at `creating MachineSets", "after 2 other changes, which stay"])
        .hints(&["run this again: a sync goes on where the last one stopped"])
        .changes(&["clusters/rehearsal.yaml"])
        .then(|lab| {
            lab.run("cluster-sync rehearsal --yes --timeout 60s").exits(0).says(&["Running and ready"]);
            assert_eq!(lab.dump()["proxmox"]["vms"].as_array().unwrap().len(), 2, "the machines that were meant");
        });
    cluster_locked "cluster-locked": says(&["is not allowed: the cluster is locked", "it failed at `updating MachineSets"])
        .hints(&["cluster-locked", "Unlock it when the reason is gone", "omnictl cluster unlock"])
        .changes(&["clusters/rehearsal.yaml"]);
    cluster_bootstrap_stalls "cluster-bootstrap-stalls": says(&["rehearsal-control-planes-", "waits for the machine to be ready (configuring)"])
        .hints(&["its own log says why", "omnictl machine-logs"])
        .changes(&["clusters/rehearsal.yaml"]);
    cluster_kubernetes_refused "cluster-kubernetes-refused": says(&["Kubernetes 1.36.2 does not go with Talos 1.13.5", "1.35.4"])
        .hints(&["--kubernetes-version"]);
}
