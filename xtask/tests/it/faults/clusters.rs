//! Faults of clusters.

use super::fault_case::says;

fault_cases! {
    cluster_sync_cut "cluster-sync-cut": says(&["is not reachable", "it failed at `creating MachineSets", "after 2 other changes, which stay"])
        .hints(&["run this again: a sync continues where the last one stopped"])
        .changes(&["clusters/rehearsal.yaml"])
        .then(|lab| {
            lab.run("cluster-sync rehearsal --yes --timeout 60s").exits(0).says(&["Running and ready"]);
            assert_eq!(lab.dump()["proxmox"]["vms"].as_array().unwrap().len(), 2, "the machines that were meant");
        });
    cluster_locked "cluster-locked": says(&["is not allowed: the cluster is locked", "it failed at `updating MachineSets"])
        .hints(&["cluster-locked", "unlock it when the reason no longer applies; then fix", "omnictl cluster unlock rehearsal"])
        .changes(&["clusters/rehearsal.yaml"]);
    cluster_delete_stuck "cluster-delete-stuck": says(&["cluster `rehearsal` is being destroyed", "still ha"])
        .hints(&["when it is gone, a sync creates it again", "cargo xtask cluster-status rehearsal"])
        .then(|lab| {
            // Every task says the same of it, and none would bring it back.
            for line in ["cluster-plan rehearsal", "cluster-sync rehearsal --dry-run", "cluster-create rehearsal --control-planes 1 --workers 1 --force --dry-run"] {
                lab.run(line).exits(1).says(&["cluster `rehearsal` is being destroyed"]);
            }
            let shown = lab.run("cluster-status rehearsal").exits(0).says(&["it has to delete the VMs", "being destroyed", "still ha"]);
            assert!(!format!("{shown:?}").contains("Destroying:"), "{shown:#?}");
            lab.write("clusters/other.yaml", &lab.read("clusters/rehearsal.yaml").replacen("name: rehearsal", "name: other", 1));
            lab.run("cluster-plan").exits(3).says(&["cluster `rehearsal` is left out: it is being destroyed"]);
            let (one, all) = (lab.run("cluster-status rehearsal --json").json(), lab.run("cluster-status --json").json());
            assert_eq!(one["data"]["cluster"]["tearing_down"], true, "{one:#}");
            assert_eq!(all["data"]["clusters"][0]["tearing_down"], true, "{all:#}");
            assert_eq!(one["steps"][0]["status"], "warning", "{one:#}");
        });
    cluster_bootstrap_stalls "cluster-bootstrap-stalls": says(&["rehearsal-control-planes-", "the machine to be ready (configuring)"])
        .hints(&["its own log says why", "omnictl machine-logs"])
        .changes(&["clusters/rehearsal.yaml"]);
    cluster_kubernetes_refused "cluster-kubernetes-refused": says(&["Kubernetes 1.36.2 does not go with Talos 1.13.5", "1.35.4"])
        .hints(&["--kubernetes-version"]);
}
