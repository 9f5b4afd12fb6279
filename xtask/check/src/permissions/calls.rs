//! The calls of the provider, in the order of a machine's life.

use super::{ALL_POOLS, Need, Scope, Want};
use crate::capacity::provider::Provider;

/// Collects the needs of one scope.
struct Walk<'a> {
    scope: &'a Scope,
    needs: Vec<Need>,
}

pub(super) fn needs(scope: &Scope) -> Vec<Need> {
    let mut walk = Walk { scope, needs: Vec::new() };
    walk.pick_node();
    walk.image();
    walk.pools();
    walk.create();
    walk.start();
    walk.high_availability();
    walk.destroy();
    walk.needs
}

fn want(privilege: &'static str, path: impl Into<String>) -> Want {
    Want { privilege, path: path.into() }
}

impl<'a> Walk<'a> {
    fn add(&mut self, call: impl Into<String>, ways: Vec<Vec<Want>>, without: &'static str) {
        self.needs.push(Need { call: call.into(), ways, optional: false, without });
    }

    fn add_optional(&mut self, call: impl Into<String>, ways: Vec<Vec<Want>>, without: &'static str) {
        self.needs.push(Need { call: call.into(), ways, optional: true, without });
    }

    /// Any of the privileges on the path.
    fn any(&mut self, call: impl Into<String>, privileges: &[&'static str], path: &str, without: &'static str) {
        self.add(call, privileges.iter().map(|privilege| vec![want(privilege, path)]).collect(), without);
    }

    /// A privilege on the VM: on `/vms`, or, from v0.1.0 on, on the pool of its set in which it is created.
    fn vm(&mut self, call: &str, privileges: &[&'static str], without: &'static str) {
        let vmid = self.scope.vmid;
        for privilege in privileges {
            let mut ways = vec![vec![want(privilege, format!("/vms/{vmid}"))]];
            let pools = pools(self.scope);
            if !pools.is_empty() {
                ways.push(pools.into_iter().map(|pool| want(privilege, pool)).collect());
            }
            self.add(call.replace("{vmid}", &vmid.to_string()), ways, without);
        }
    }

    fn pick_node(&mut self) {
        self.add("GET /nodes", Vec::new(), "");
        for node in &self.scope.nodes {
            let path = format!("/nodes/{node}");
            let without = "the node's memory is not visible: the provider picks the first node in the list";
            self.any("GET /nodes", &["Sys.Audit"], &path, without);
            let without = "tolerated";
            self.add_optional(format!("GET {path}/status"), vec![vec![want("Sys.Audit", path.clone())]], without);
        }
        self.vm("GET /nodes/{node}/qemu", &["VM.Audit"], "the list of VMs comes back empty");
        self.add_optional("GET /cluster/status", vec![vec![want("Sys.Audit", "/")]], "tolerated");
        self.add("GET /cluster/nextid", Vec::new(), "");
    }

    fn image(&mut self) {
        for (node, storages) in &self.scope.iso {
            let at = format!("/nodes/{node}");
            for storage in storages {
                let path = format!("/storage/{storage}");
                let see = &["Datastore.Audit", "Datastore.AllocateSpace"];
                let without = "the storage is hidden: \"unable to find the item you are looking for\"";
                self.any(format!("GET {at}/storage"), see, &path, without);
                let see = &["Datastore.Audit", "Datastore.AllocateSpace", "Datastore.Allocate"];
                let without = "the image cannot be found, and is not attached";
                self.any(format!("GET {at}/storage/{storage}/content/{{image}}"), see, &path, without);
                let call = format!("POST {at}/storage/{storage}/download-url");
                let without = "Talos cannot be downloaded: \"not authorized to access endpoint\"";
                self.any(call.clone(), &["Datastore.AllocateTemplate"], &path, without);
                let old = vec![want("Sys.Audit", "/"), want("Sys.Modify", "/")];
                self.add(call, vec![vec![want("Sys.AccessNetwork", at.clone())], old], without);
            }
        }
        self.add("GET /nodes/{node}/tasks/{upid}/status", Vec::new(), "");
    }

    fn pools(&mut self) {
        let scope = self.scope;
        if scope.provider < Provider::V0_1 {
            return;
        }
        for path in set_pools(scope) {
            let without = "the pool of the machine set cannot be created, nor any machine in it";
            self.any("POST /pools", &["Pool.Allocate"], &path, without);
        }
        for path in pools(scope) {
            let without = "the pool is hidden: the provider thinks that it does not exist";
            self.any("GET /pools", &["Pool.Audit"], &path, without);
        }
    }

    fn create(&mut self) {
        let call = "POST /nodes/{node}/qemu";
        let without = "no VM is created: \"not authorized to access endpoint\"";
        let privileges = &[
            "VM.Allocate",
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.HWType",
            "VM.Config.Options",
            "VM.Config.Network",
        ];
        self.vm(call, privileges, without);
        let scope = self.scope;
        for (node, storages) in &scope.disks {
            for storage in storages {
                let path = format!("/storage/{storage}");
                let hidden = "the storage is hidden: \"failed to pick the disk: no matches for the condition\"";
                let see = &["Datastore.Audit", "Datastore.AllocateSpace"];
                self.any(format!("GET /nodes/{node}/storage"), see, &path, hidden);
                self.any(format!("POST /nodes/{node}/qemu"), &["Datastore.AllocateSpace"], &path, without);
            }
        }
        for network in &scope.networks {
            self.any(call, &["SDN.Use"], &scope.network_path(network), without);
        }
        let mappings = scope.pci.iter().map(|name| format!("/mapping/pci/{name}"));
        let usb =
            scope.usb.iter().filter(|_| scope.provider >= Provider::V0_3).map(|name| format!("/mapping/usb/{name}"));
        for path in mappings.chain(usb) {
            self.any(call, &["Mapping.Use"], &path, without);
        }
    }

    fn start(&mut self) {
        self.vm("GET /nodes/{node}/qemu/{vmid}/status/current", &["VM.Audit"], "the VM is created but never started");
        self.vm("GET /nodes/{node}/qemu/{vmid}/config", &["VM.Audit"], "the VM is created but never started");
        for (node, storages) in &self.scope.iso {
            for storage in storages {
                let call = format!("POST /nodes/{node}/storage/{storage}/upload");
                let without = "the provider panics with a nil pointer when it uploads the machine's configuration";
                self.any(call, &["Datastore.AllocateTemplate"], &format!("/storage/{storage}"), without);
            }
        }
        let call = "POST /nodes/{node}/qemu/{vmid}/config";
        let privileges = &["VM.Config.CDROM", "VM.Config.Disk", "VM.Config.Options"];
        self.vm(call, privileges, "the machine's configuration is not attached, and it never joins Omni");
        self.vm(
            "POST /nodes/{node}/qemu/{vmid}/status/start",
            &["VM.PowerMgmt"],
            "the VM is created but never started",
        );
    }

    /// From v0.2.0 on, for classes with `ha`.
    fn high_availability(&mut self) {
        if !self.scope.ha || self.scope.provider < Provider::V0_2 {
            return;
        }
        let without = "the VM runs, and its request stays in the step registerHA or syncHARules";
        self.any("GET /cluster/ha/resources, /cluster/ha/rules", &["Sys.Audit"], "/", without);
        self.any("POST, PUT, DELETE /cluster/ha/resources, /cluster/ha/rules", &["Sys.Console"], "/", without);
    }

    fn destroy(&mut self) {
        self.vm("POST /nodes/{node}/qemu/{vmid}/status/stop", &["VM.PowerMgmt"], "a machine is never torn down");
        for (node, storages) in &self.scope.iso {
            for storage in storages {
                let call = format!("DELETE /nodes/{node}/storage/{storage}/content/{{user-data image}}");
                let without = "a machine is stopped and never deleted";
                self.any(call, &["Datastore.Allocate"], &format!("/storage/{storage}"), without);
            }
        }
        self.vm("DELETE /nodes/{node}/qemu/{vmid}", &["VM.Allocate"], "a machine is stopped and never deleted");
    }
}

/// The paths of the pools in which machines are created: those that classes name, else those of machine request sets.
fn pools(scope: &Scope) -> Vec<String> {
    let named = || scope.pools.iter().map(|pool| format!("/pool/{pool}"));
    if scope.provider < Provider::V0_1 { Vec::new() } else { set_pools(scope).chain(named()).collect() }
}

/// The paths of the pools that the provider creates, one for each machine request set; `/pool` stands for sets to come.
fn set_pools(scope: &Scope) -> impl Iterator<Item = String> {
    scope.sets.iter().map(|set| format!("/pool/{set}")).chain(scope.new_sets.then(|| ALL_POOLS.to_owned()))
}
