//! Generates a new cluster template, formatted as if written by hand.

use yaml::quote;

/// The parameters of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCluster {
    /// Name of the cluster and of its file; a DNS label.
    pub name: String,
    pub control_planes: u32,
    /// With 0, the file has no worker set.
    pub workers: u32,
    pub control_plane_class: String,
    pub worker_class: String,
    /// With or without `v`; omnictl requires it for Talos, and the file has it for both versions.
    pub talos_version: String,
    pub kubernetes_version: String,
}

/// Returns the text of a cluster template file.
pub fn render(cluster: &NewCluster) -> String {
    let version = |v: &str| quote(&format!("v{}", v.trim_start_matches('v')));
    let workers = match cluster.workers {
        0 => String::new(),
        n => format!(
            "\
---
kind: Workers
machineClass:
  name: {class}
  # Must be a number: Omni refuses `unlimited` for classes that provision machines.
  size: {n}
",
            class = quote(&cluster.worker_class),
        ),
    };
    format!(
        "\
# yaml-language-server: $schema=../schemas/cluster-template.schema.json
# A cluster template: one document for the cluster and one for each machine set.
# Check it with `cargo xtask cluster-check {name}`, create it with `cargo xtask cluster-sync {name}`.
# A sync destroys what this file no longer contains: if you remove a set, its machines are deleted.
kind: Cluster
name: {id}
kubernetes:
  version: {kubernetes}
talos:
  version: {talos} # the `v` is required
---
kind: ControlPlane
machineClass:
  name: {class}
  # An odd number, for etcd's majority: 3 machines tolerate the loss of one, 1 machine tolerates none.
  size: {size}
{workers}",
        name = cluster.name,
        id = quote(&cluster.name),
        kubernetes = version(&cluster.kubernetes_version),
        talos = version(&cluster.talos_version),
        class = quote(&cluster.control_plane_class),
        size = cluster.control_planes,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::template::{SetKind, parse};

    #[test]
    fn rendered_text_parses_back() {
        let mut cluster = NewCluster {
            name: "matrix".into(),
            control_planes: 3,
            workers: 2,
            control_plane_class: "cp".into(),
            worker_class: "123".into(),
            talos_version: "1.13.5".into(),
            kubernetes_version: "v1.36.2".into(),
        };
        let read = parse("matrix.yaml", render(&cluster).as_bytes());
        assert!(read.findings.is_empty(), "{:?}", read.findings);
        let template = read.value.expect("a value");
        assert_eq!((template.talos_version.as_str(), template.kubernetes_version.as_str()), ("v1.13.5", "v1.36.2"));
        let sets: Vec<_> = template.sets.iter().map(|s| (s.id("matrix"), s.machine_count())).collect();
        assert_eq!(sets, [("matrix-control-planes".to_owned(), Some(3)), ("matrix-workers".to_owned(), Some(2))]);
        assert_eq!(template.classes(), ["123", "cp"]);
        cluster.workers = 0;
        let template = parse("matrix.yaml", render(&cluster).as_bytes()).value.expect("a value");
        assert_eq!(template.sets.len(), 1);
        assert_eq!(template.sets[0].kind, SetKind::ControlPlane);
    }
}
