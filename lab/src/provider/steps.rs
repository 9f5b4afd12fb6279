//! The steps that create a machine, and the call that deletes it (omni-infra-provider-proxmox 0d9fd58 and v0.2.0
//! internal/pkg/provider/provision.go).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Provider;
use super::place::{Candidate, PlacementRequest, Strategy};
use super::release::ProviderRelease;
use crate::selector;
use crate::tls::hex;

/// The error if every node is offline.
const NO_NODES: &str = "no online nodes available for provisioning";
const TOO_OLD: &str =
    "this infra provider requires Omni 1.8 or newer, which the server it is connected to does not appear to be";
/// The tag that go-proxmox adds to a VM with a cloud-init image.
const CLOUD_INIT_TAG: &str = "go-proxmox+cloud-init";

/// The provider's state of a machine, which is stored in Omni (api/specs/specs.proto).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineState {
    pub uuid: String,
    /// ID of the image schematic.
    pub schematic: String,
    /// File name of the image.
    #[serde(rename = "volumeid")]
    pub volume_id: String,
    pub node: String,
    /// VM ID; 0 before the VM exists.
    pub vmid: u64,
    /// UPID of the image upload.
    #[serde(rename = "volumeuploadtask")]
    pub upload_task: String,
    /// UPID of the VM's creation.
    #[serde(rename = "vmcreatetask")]
    pub create_task: String,
    /// UPID of the VM's start.
    #[serde(rename = "vmstarttask")]
    pub start_task: String,
    /// The pool of the VM, which early releases did not store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pool: String,
    /// The last step that was stored.
    pub step: String,
}

/// Why a step did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Retry after this time; changes to the state are kept.
    Later(Duration),
    /// The step failed; changes to the state are discarded.
    Failed(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Stop {
        Stop::Failed(why)
    }
}

/// A machine request as the steps use it.
#[derive(Clone, Debug, Default)]
pub struct MachineRequest {
    /// ID, which is also the name of the VM.
    pub id: String,
    /// The request set, whose name becomes a tag.
    pub set: String,
    /// Provider data as parsed YAML.
    pub data: Value,
    /// Talos version without `v`.
    pub talos: String,
    pub extensions: Vec<String>,
    /// The requested kernel arguments.
    pub kernel_args: Vec<String>,
}

impl Provider {
    /// Runs one step.
    pub(super) async fn step(
        &self,
        name: &str,
        request: &MachineRequest,
        state: &mut MachineState,
    ) -> Result<(), Stop> {
        match name {
            "pickNode" => self.pick_node(request, state).await,
            "createSchematic" => {
                let (yaml, shown) = schematic(request);
                let fields = [("schematic", shown)];
                self.log(&request.id, "info", "provision/context.go:241", "creating schematic", &fields);
                state.schematic = hash(&yaml);
                self.check_factory().map_err(|why| Stop::Failed(format!("failed to create schematic: {why}")))
            }
            "uploadISO" => self.upload_iso(request, state).await,
            "syncVM" => self.sync_vm(request, state).await,
            "startVM" => self.start_vm(request, state).await,
            // `registerHA` and `syncHARules`
            _ if request.data["ha"].is_null() => Ok(()),
            _ => Err(Stop::Failed("the lab does not simulate high availability".to_owned())),
        }
    }

    /// Fails if the image factory is unreachable.
    fn check_factory(&self) -> Result<(), String> {
        if self.env.faults.has("image-factory-unreachable") && self.env.faults.hit("image-factory-unreachable") {
            let dial = "dial tcp: lookup factory.talos.dev on 127.0.0.11:53: no such host";
            return Err(format!("Post \"https://factory.talos.dev/schematics\": {dial}"));
        }
        Ok(())
    }

    /// Requests the installation media from Omni, as 0.3 does. Omni supports this since 1.8 (omni b1ea5df2
    /// client/pkg/infra/infra.go, internal/backend/grpc/schematics.go).
    fn check_media_support(&self) -> Result<(), String> {
        if self.env.omni.with(|state| state.release.old()) {
            let missing = "unknown method CreateSchematicFromRaw for service management.ManagementService";
            return Err(format!("{TOO_OLD}: rpc error: code = Unimplemented desc = {missing}"));
        }
        let failed = "failed to create the schematic through Omni: rpc error: code = Unknown desc";
        self.check_factory().map_err(|why| format!("{failed} = failed to ensure raw schematic: {why}"))
    }

    async fn pick_node(&self, request: &MachineRequest, state: &mut MachineState) -> Result<(), Stop> {
        let nodes = self.pve.get("/nodes").await?;
        let nodes = nodes.as_array().cloned().unwrap_or_default();
        if nodes.is_empty() {
            return Err(Stop::Failed("no nodes available".to_owned()));
        }
        if let Some(wanted) = data_text(&request.data, "node") {
            let found = nodes.iter().find(|node| node["node"] == wanted);
            let found = found.ok_or_else(|| format!("specified node {wanted:?} not found in cluster"))?;
            let status = found["status"].as_str().unwrap_or_default();
            if status != "online" {
                return Err(Stop::Failed(format!("specified node {wanted:?} is not online (status: {status})")));
            }
            state.node = wanted.to_owned();
            let text = "using configured node for the Proxmox VM";
            self.log(&request.id, "info", "provider/provision.go:77", text, &[("node", wanted.into())]);
            return Ok(());
        }
        state.node = self.pick_by_strategy(&nodes, request).await?;
        let text = "auto-selected node for the Proxmox VM";
        self.log(&request.id, "info", "provider/provision.go:119", text, &[("node", state.node.clone().into())]);
        Ok(())
    }

    /// Picks a node with the placement strategy and the ledger.
    async fn pick_by_strategy(&self, nodes: &[Value], request: &MachineRequest) -> Result<String, String> {
        let strategy = Strategy::parse(request.data["placement_strategy"].as_str().unwrap_or_default())?;
        let mut online = Vec::new();
        for node in nodes.iter().filter(|node| node["status"] == "online") {
            let name = node["node"].as_str().unwrap_or_default();
            let (most, used) = (node["maxmem"].as_u64().unwrap_or(0), node["mem"].as_u64().unwrap_or(0));
            let free = most.saturating_sub(used);
            let share = if most == 0 { 0.0 } else { free as f64 / most as f64 };
            self.pve.node(name).await.map_err(|why| format!("failed to get node {name:?}, {why}"))?;
            let vms = self.pve.get(&format!("/nodes/{name}/qemu")).await;
            let vms = vms.map_err(|why| format!("failed to get vms for node {name:?}, {why}"))?;
            let vms = vms.as_array().map_or(0, Vec::len);
            online.push(Candidate { name: name.to_owned(), share, free, same_set: 0, vms });
        }
        let memory = request.data["memory"].as_u64().unwrap_or(0) << 20;
        let asked = PlacementRequest { id: &request.id, set: &request.set, memory, strategy };
        self.ledger.pick(online, &asked, self.env.clock.elapsed()).ok_or_else(|| NO_NODES.to_owned())
    }

    async fn upload_iso(&self, request: &MachineRequest, state: &mut MachineState) -> Result<(), Stop> {
        if !state.upload_task.is_empty() {
            match self.check_task(&state.upload_task).await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(why)) if why == "stopped" => {}
                Err(other) => return Err(other),
            }
            self.log(&request.id, "info", "provider/provision.go:149", "retrying download", &[]);
        }
        if self.settings.release >= ProviderRelease::V0_3 {
            self.check_media_support()
                .map_err(|why| Stop::Failed(format!("error resolving the installation media: {why}")))?;
            state.schematic = hash(&schematic(request).0);
        }
        let image = format!("factory.talos.dev/image/{}/{}/nocloud-amd64.iso", state.schematic, request.talos);
        let url = format!("https://{image}");
        // From 0.3 on, the name is derived from Omni's storage key, so the same image has another name.
        let file = format!("{}.iso", hash(if self.settings.release >= ProviderRelease::V0_3 { &image } else { &url }));
        state.volume_id.clone_from(&file);
        let node = state.node.as_str();
        self.pve.node(node).await?;
        let storage = self.pve.iso_storage(node).await.map_err(|why| format!("failed to get storage: {why}"))?;
        if self.iso(node, &storage, &file).await.is_ok() {
            return Ok(());
        }
        let body = json!({"content": "iso", "filename": file, "url": url});
        let path = format!("/nodes/{node}/storage/{storage}/download-url");
        state.upload_task = self.pve.begin("POST", &path, Some(&body)).await?;
        let fields = [("volumeID", file.into()), ("task", state.upload_task.as_str().into())];
        self.log(&request.id, "info", "provider/provision.go:205", "uploading new ISO image", &fields);
        Err(Stop::Later(Duration::from_secs(1)))
    }

    async fn iso(&self, node: &str, storage: &str, file: &str) -> Result<Value, String> {
        self.pve.get(&format!("/nodes/{node}/storage/{storage}/content/{storage}:iso/{file}")).await
    }

    /// Succeeds if the task succeeded. Returns `Later` while it runs, otherwise its status, which does not name a cause.
    async fn check_task(&self, upid: &str) -> Result<(), Stop> {
        let task = self.pve.task(upid).await?;
        match task.status.as_str() {
            "running" => Err(Stop::Later(Duration::from_secs(10))),
            _ if task.successful => Ok(()),
            _ => Err(Stop::Failed(task.status)),
        }
    }

    async fn sync_vm(&self, request: &MachineRequest, state: &mut MachineState) -> Result<(), Stop> {
        if !state.create_task.is_empty() {
            return self.check_task(&state.create_task).await;
        }
        if state.uuid.is_empty() {
            state.uuid = self.env.omni.with(|state| state.uuid());
        }
        let node = state.node.clone();
        self.pve.node(&node).await?;
        match self.pve.get("/cluster/status").await {
            Err(why) if why != super::pve::NOT_AUTHORIZED => return Err(Stop::Failed(why)),
            _ => {}
        }
        let id = self.pve.get("/cluster/nextid").await?;
        let vmid = id.as_str().and_then(|id| id.parse().ok()).ok_or_else(|| format!("invalid VM id {id}"))?;
        let storage = self.pve.iso_storage(&node).await?;
        self.iso(&node, &storage, &state.volume_id).await?;
        let data = &request.data;
        let disk = self.disk(&node, data).await?;
        let mut body =
            vm_body(self.settings.release, request, state, vmid, &format!("{storage}:iso/{}", state.volume_id));
        if self.settings.release >= ProviderRelease::V0_2 {
            let pool = data_text(data, "pool").unwrap_or(&request.set);
            if !pool.is_empty() {
                self.ensure_pool(&request.id, pool, &request.set).await?;
                state.pool = pool.to_owned();
                body["pool"] = pool.into();
            }
        }
        if data["bios"] == "ovmf" {
            let chosen = disk.split(':').next().unwrap_or_default();
            body["efidisk0"] = format!("{chosen}:1,efitype=4m,pre-enrolled-keys=0").into();
        }
        body["scsi0"] = disk.into();
        for (number, disk) in list(data, "additional_disks") {
            let failed = |why| format!("failed to pick storage for additional disk {number}: {why}");
            body[format!("scsi{number}")] = self.disk(&node, disk).await.map_err(failed)?.into();
        }
        state.create_task = self.pve.begin("POST", &format!("/nodes/{node}/qemu"), Some(&body)).await?;
        state.vmid = vmid;
        Err(Stop::Later(Duration::from_secs(10)))
    }

    /// Returns a disk on the chosen storage, with its options.
    async fn disk(&self, node: &str, data: &Value) -> Result<String, String> {
        let storage = self.pick_storage(node, data["storage_selector"].as_str().unwrap_or_default()).await?;
        let on = flags(data, &[("disk_ssd", "ssd=1"), ("disk_discard", "discard=on"), ("disk_iothread", "iothread=1")]);
        let more = texts(data, &[("disk_cache", "cache"), ("disk_aio", "aio")]);
        Ok(format!("{storage}:{}{on}{more}", data["disk_size"].as_u64().unwrap_or(0)))
    }

    async fn pick_storage(&self, node: &str, selector: &str) -> Result<String, String> {
        let list = self.pve.get(&format!("/nodes/{node}/storage")).await?;
        for entry in list.as_array().into_iter().flatten() {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            let storage = ::selector::Storage {
                name: text("storage"),
                node,
                storage_type: text("type"),
                available_space: entry["avail"].as_u64().unwrap_or(0),
            };
            if selector::matches(selector, &storage)? {
                return Ok(storage.name.to_owned());
            }
        }
        Err(format!("failed to pick the disk: no matches for the condition {selector:?}"))
    }

    async fn start_vm(&self, request: &MachineRequest, state: &mut MachineState) -> Result<(), Stop> {
        if !state.start_task.is_empty() {
            return self.check_task(&state.start_task).await;
        }
        let (node, vmid) = (state.node.clone(), state.vmid);
        let config = self.vm(&node, vmid).await?;
        self.cloud_init(request, state, &config)
            .await
            .map_err(|why| format!("failed to inject nocloud config: {why}"))?;
        state.start_task = self.pve.begin("POST", &format!("/nodes/{node}/qemu/{vmid}/status/start"), None).await?;
        Err(Stop::Later(Duration::from_secs(1)))
    }

    /// Fetches the configuration of a VM with the same calls as the library.
    async fn vm(&self, node: &str, vmid: u64) -> Result<Value, String> {
        self.pve.node(node).await?;
        self.pve.get(&format!("/nodes/{node}/qemu/{vmid}/status/current")).await?;
        self.pve.get(&format!("/nodes/{node}/qemu/{vmid}/config")).await
    }

    async fn cloud_init(&self, request: &MachineRequest, state: &MachineState, config: &Value) -> Result<(), String> {
        let (node, vmid) = (state.node.as_str(), state.vmid);
        self.pve.node(node).await?;
        let storage = self.pve.iso_storage(node).await?;
        let file = format!("user-data-{vmid}.iso");
        let image = super::cidata::image(&state.uuid, &request.id, &self.join_token);
        let task = self.pve.upload(node, &storage, &file, &image).await?;
        let task = task.as_str().ok_or("runtime error: invalid memory address or nil pointer dereference")?;
        self.pve.wait(task, Duration::from_secs(5)).await?;
        let path = format!("/nodes/{node}/qemu/{vmid}/config");
        let tags = config["tags"].as_str().unwrap_or_default();
        if !tags.split(';').any(|tag| tag == CLOUD_INIT_TAG) {
            let all: Vec<&str> = tags.split(';').filter(|tag| !tag.is_empty()).chain([CLOUD_INIT_TAG]).collect();
            self.pve.call("POST", &path, Some(&json!({"tags": all.join(";")}))).await?;
        }
        let boot = config["boot"].as_str().unwrap_or_default();
        let body = json!({"ide0": format!("{storage}:iso/{file},media=cdrom"), "boot": format!("{boot};ide0")});
        let task = self.pve.begin("POST", &path, Some(&body)).await?;
        self.pve.wait(&task, Duration::from_secs(2)).await
    }

    /// Deletes a machine. Succeeds if the VM no longer exists.
    pub(super) async fn deprovision(&self, id: &str, state: &MachineState) -> Result<(), String> {
        self.ledger.release(id);
        if state.vmid == 0 {
            return Ok(());
        }
        self.destroy(&state.node, state.vmid).await?;
        self.clean_pool(id, &state.pool).await;
        Ok(())
    }

    async fn destroy(&self, node: &str, vmid: u64) -> Result<(), String> {
        let lost = |why: &str| {
            why.contains("no such node")
                || why.contains("hostname lookup") && why.contains("failed to get address info")
        };
        let config = match self.vm(node, vmid).await {
            Err(why) if why.contains("does not exist") => return Ok(()),
            Err(why) if self.settings.release >= ProviderRelease::V0_3 && lost(&why) => return Ok(()),
            other => other?,
        };
        self.finish(&self.pve.begin("POST", &format!("/nodes/{node}/qemu/{vmid}/status/stop"), None).await?).await?;
        let tags = config["tags"].as_str().unwrap_or_default();
        if tags.split(';').any(|tag| tag == CLOUD_INIT_TAG) {
            self.pve.node(node).await?;
            let storage = self.pve.iso_storage(node).await?;
            let file = format!("user-data-{vmid}.iso");
            self.iso(node, &storage, &file).await?;
            let path = format!("/nodes/{node}/storage/{storage}/content/{storage}:iso/{file}");
            let task = self.pve.begin("DELETE", &path, None).await?;
            self.pve.wait(&task, Duration::from_secs(5)).await?;
        }
        self.finish(&self.pve.begin("DELETE", &format!("/nodes/{node}/qemu/{vmid}"), None).await?).await
    }

    async fn finish(&self, upid: &str) -> Result<(), String> {
        loop {
            self.env.clock.sleep(Duration::from_secs(5)).await;
            match self.check_task(upid).await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(why)) => return Err(why),
                Err(Stop::Later(_)) => {}
            }
        }
    }
}

/// Returns a string of the provider data, if it is not empty.
fn data_text<'d>(data: &'d Value, key: &str) -> Option<&'d str> {
    data[key].as_str().filter(|value| !value.is_empty())
}

/// Returns the entries of a list in the provider data, counted from 1.
fn list<'d>(data: &'d Value, key: &str) -> impl Iterator<Item = (usize, &'d Value)> {
    data[key].as_array().into_iter().flatten().enumerate().map(|(at, entry)| (at + 1, entry))
}

/// Returns `,TEXT` for each key that is true.
fn flags(data: &Value, keys: &[(&str, &str)]) -> String {
    keys.iter().filter(|(key, _)| data[*key] == true).map(|(_, text)| format!(",{text}")).collect()
}

/// Returns `,NAME=VALUE` for each key that is a non-empty string.
fn texts(data: &Value, keys: &[(&str, &str)]) -> String {
    keys.iter().filter_map(|(key, name)| Some(format!(",{name}={}", data_text(data, key)?))).collect()
}

/// Returns the body of the request that creates a VM, without its disks.
fn vm_body(release: ProviderRelease, request: &MachineRequest, state: &MachineState, vmid: u64, iso: &str) -> Value {
    let data = &request.data;
    let own = format!("machine-request.{}", request.set);
    let tags = data["tags"].as_array().into_iter().flatten();
    let tags: Vec<&str> = tags.filter_map(Value::as_str).chain([own.as_str()]).collect();
    let number = |data: &Value, key: &str| data[key].as_u64().unwrap_or(0);
    let nic = |bridge: &str, firewall: bool, vlan: u64| {
        let tag = if vlan == 0 { String::new() } else { format!(",tag={vlan}") };
        format!("virtio,bridge={bridge},firewall={}{tag}", u8::from(firewall))
    };
    let bridge = data_text(data, "network_bridge").unwrap_or("vmbr0");
    let mut body = json!({
        "vmid": vmid,
        "smbios1": format!("uuid={}", state.uuid),
        "name": request.id,
        "cdrom": iso,
        "cpu": data_text(data, "cpu_type").unwrap_or("x86-64-v2-AES"),
        "cores": number(data, "cores"),
        // 0 if the machine class omits it, which Proxmox rejects.
        "sockets": number(data, "sockets"),
        "memory": number(data, "memory"),
        "scsihw": "virtio-scsi-single",
        "onboot": 1,
        "net0": nic(bridge, data["network_firewall"] != false, number(data, "vlan")),
        "agent": "enabled=true",
        "tags": tags.join(";"),
    });
    for (key, name) in [("machine_type", "machine"), ("bios", "bios"), ("vga", "vga"), ("hugepages", "hugepages")] {
        if let Some(value) = data_text(data, key) {
            body[name] = value.into();
        }
    }
    match body["hugepages"].as_str() {
        Some("2MB") => body["hugepages"] = "2".into(),
        Some("1GB") => body["hugepages"] = "1024".into(),
        _ => {}
    }
    if data["numa"] == true {
        body["numa"] = 1.into();
    }
    if data["balloon"] == false {
        body["balloon"] = 0.into();
    }
    let mapping = |entry: &Value| entry["mapping"].as_str().unwrap_or_default().to_owned();
    for (at, entry) in list(data, "additional_nics") {
        let bridge = entry["bridge"].as_str().unwrap_or_default();
        body[format!("net{at}")] = nic(bridge, entry["firewall"] == true, number(entry, "vlan")).into();
    }
    for (at, entry) in list(data, "pci_devices") {
        let on = flags(entry, &[("pcie", "pcie=1"), ("primary_gpu", "x-vga=1"), ("rombar", "rombar=1")]);
        let value = format!("mapping={}{on}{}", mapping(entry), texts(entry, &[("mdev", "mdev")]));
        body[format!("hostpci{}", at - 1)] = value.into();
    }
    for (at, entry) in list(data, "usb_devices").filter(|_| release >= ProviderRelease::V0_3) {
        let value = format!("mapping={}{}", mapping(entry), flags(entry, &[("usb3", "usb3=1")]));
        body[format!("usb{}", at - 1)] = value.into();
    }
    body
}

fn hash(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// Returns the schematic as YAML, whose hash is its ID, and as it appears in the log.
fn schematic(request: &MachineRequest) -> (String, Value) {
    let mut extensions = request.extensions.clone();
    if !extensions.iter().any(|name| name == "siderolabs/qemu-guest-agent") {
        extensions.push("siderolabs/qemu-guest-agent".to_owned());
    }
    let mut yaml = "customization:\n".to_owned();
    if !request.kernel_args.is_empty() {
        yaml.push_str("    extraKernelArgs:\n");
        for arg in &request.kernel_args {
            yaml.push_str(&format!("        - {arg}\n"));
        }
    }
    yaml.push_str("    systemExtensions:\n        officialExtensions:\n");
    for name in &extensions {
        yaml.push_str(&format!("            - {name}\n"));
    }
    let shown = json!({
        "Overlay": {"Image": "", "Name": "", "Options": null},
        "Customization": {
            "ExtraKernelArgs": (!request.kernel_args.is_empty()).then_some(&request.kernel_args), "Meta": null,
            "SystemExtensions": {"OfficialExtensions": extensions}, "Bootloader": "none",
            "SecureBoot": {"IncludeWellKnownCertificates": false},
        },
    });
    (yaml, shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schematic_id_matches_recording() {
        let (yaml, _) = schematic(&MachineRequest::default());
        let id = hash(&yaml);
        assert_eq!(id, "ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515");
        let url = format!("https://factory.talos.dev/image/{id}/1.12.1/nocloud-amd64.iso");
        assert_eq!(hash(&url), "2eb4f93318b84fc86dc0a28651361de8b7e3d50698627265cb8a2565aa95d2b2");
    }

    #[test]
    fn usb_devices_are_attached_since_v0_3() {
        let data = json!({"usb_devices": [{"mapping": "key"}, {"mapping": "disk", "usb3": true}]});
        let request = MachineRequest { data, ..MachineRequest::default() };
        let body = |release| vm_body(release, &request, &MachineState::default(), 1, "x");
        assert!(body(ProviderRelease::V0_2)["usb0"].is_null());
        assert_eq!(body(ProviderRelease::V0_3)["usb0"], "mapping=key");
        assert_eq!(body(ProviderRelease::V0_3)["usb1"], "mapping=disk,usb3=1");
    }

    #[test]
    fn vm_body_matches_recording() {
        let data = json!({"cores": 4, "sockets": 1, "memory": 8192, "disk_size": 40});
        let request = MachineRequest {
            id: "demo-workers-2g8c59".into(),
            set: "demo-workers".into(),
            data,
            ..MachineRequest::default()
        };
        let uuid = "86566e36-55e0-44b3-8954-2d6947f583fb".to_owned();
        let state = MachineState { uuid, ..MachineState::default() };
        let body = vm_body(ProviderRelease::Untagged, &request, &state, 101, "local:iso/x.iso");
        assert_eq!(
            body.to_string(),
            "{\"agent\":\"enabled=true\",\"cdrom\":\"local:iso/x.iso\",\"cores\":4,\"cpu\":\"x86-64-v2-AES\",\"memory\":8192,\
             \"name\":\"demo-workers-2g8c59\",\"net0\":\"virtio,bridge=vmbr0,firewall=1\",\"onboot\":1,\
             \"scsihw\":\"virtio-scsi-single\",\"smbios1\":\"uuid=86566e36-55e0-44b3-8954-2d6947f583fb\",\"sockets\":1,\
             \"tags\":\"machine-request.demo-workers\",\"vmid\":101}"
        );
    }
}
