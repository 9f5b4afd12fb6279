// A VM's whole life and an audit of permissions, through proxmox-api.
//
// Environment: PVE_HOST, PVE_PORT, PVE_TOKEN_ID, PVE_TOKEN_SECRET, PVE_ROOT_PASSWORD; the CA in NODE_EXTRA_CA_CERTS.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import proxmoxApi from "proxmox-api";

const { PVE_HOST: host, PVE_PORT, PVE_TOKEN_ID, PVE_TOKEN_SECRET, PVE_ROOT_PASSWORD } = process.env;
const port = Number(PVE_PORT);

/** Waits for a task; returns how it ended. */
async function wait(pve, upid) {
  const task = pve.nodes.$(upid.split(":")[1]).tasks.$(upid);
  for (let tries = 0; tries < 600; tries++) {
    const status = await task.status.$get();
    if (status.status === "stopped") return status.exitstatus;
    await sleep(50);
  }
  throw new Error(`${upid} does not end`);
}

/** A call that must be refused, with the text of Proxmox VE. */
async function refused(text, call) {
  await assert.rejects(call, (error) => {
    assert.ok(String(error.message).includes(text), `${text}: ${error.message}`);
    return true;
  });
}

async function life(pve) {
  assert.match((await pve.version.$get()).version, /^9\./);
  const nodes = await pve.nodes.$get();
  assert.equal(nodes.find(({ node }) => node === "pve2").status, "online");
  const node = pve.nodes.$("pve2");
  const storages = (await node.storage.$get()).map(({ storage }) => storage);
  assert.ok(["local", "local-lvm"].every((id) => storages.includes(id)), storages.join());

  const local = node.storage.$("local");
  const url = "https://factory.talos.dev/image/0/1.13.5/nocloud-amd64.iso";
  const download = local["download-url"].$post({ content: "iso", filename: "life-node.iso", url });
  assert.equal(await wait(pve, await download), "OK");

  const vmid = Number(await pve.cluster.nextid.$get());
  const options = {
    vmid, name: "life-node", cores: 2, sockets: 1, memory: "2048", onboot: true, tags: "life;node",
    scsihw: "virtio-scsi-single", scsi0: "local-lvm:20,discard=on", net0: "virtio,bridge=vmbr0",
    cdrom: "local:iso/life-node.iso", agent: "enabled=1",
  };
  await refused("sockets", () => node.qemu.$post({ ...options, sockets: 0 }));
  assert.equal(await wait(pve, await node.qemu.$post(options)), "OK");
  await refused(`VM ${vmid} already exists on node 'pve2'`, () => node.qemu.$post(options));

  const vm = node.qemu.$(vmid);
  const config = await vm.config.$get();
  assert.equal(config.boot, "order=scsi0;ide2;net0");
  assert.equal(config.cores, 2);
  assert.equal(await wait(pve, await vm.config.$post({ scsi1: "vm_ssd:4" })), "OK");
  await vm.config.$put({ description: "from Node" });
  assert.match((await vm.config.$get()).scsi1, /^vm_ssd:vm-\d+-disk-0,size=4G$/);

  assert.equal(await wait(pve, await vm.status.start.$post()), "OK");
  assert.equal((await vm.status.current.$get()).status, "running");
  await refused(`VM ${vmid} is running - destroy failed`, () => vm.$delete());
  assert.equal(await wait(pve, await vm.status.stop.$post()), "OK");
  assert.equal(await wait(pve, await vm.$delete()), "OK");
  await refused("does not exist", () => vm.config.$get());
  assert.equal(await wait(pve, await local.content.$("local:iso/life-node.iso").$delete()), "OK");
}

async function audit(pve, root) {
  const tree = await pve.access.permissions.$get();
  assert.equal(tree["/vms"]["VM.Allocate"], 1);
  assert.equal(tree["/"], undefined);
  await refused("Permission check failed (/, Sys.Audit)", () => pve.cluster.status.$get());
  await refused("Permission check failed (/access, Sys.Modify)", () => pve.access.roles.$post({ roleid: "No" }));

  await root.access.roles.$post({ roleid: "AuditNode", privs: "VM.Audit" });
  await root.access.users.$post({ userid: "audit-node@pve" });
  await root.access.acl.$put({ path: "/vms", users: "audit-node@pve", roles: "AuditNode" });
  // With privilege separation, which is the default, a token has nothing of its own.
  const made = await root.access.users.$("audit-node@pve").token.$("cut").$post();
  const cut = proxmoxApi({ host, port, tokenID: made["full-tokenid"], tokenSecret: made.value });
  assert.deepEqual(await cut.access.permissions.$get(), {});
  await root.access.acl.$put({ path: "/vms", tokens: "audit-node@pve!cut", roles: "PVEVMAdmin" });
  assert.deepEqual(await cut.access.permissions.$get(), { "/vms": { "VM.Audit": 1 } });
  await root.access.users.$("audit-node@pve").$delete();
  await root.access.roles.$("AuditNode").$delete();
}

const pve = proxmoxApi({ host, port, tokenID: PVE_TOKEN_ID, tokenSecret: PVE_TOKEN_SECRET });
const root = proxmoxApi({ host, port, username: "root@pam", password: PVE_ROOT_PASSWORD });
await life(pve);
await life(root);
await audit(pve, root);
console.log("proxmox-api: a VM's life with token and with password, and an audit of permissions");
process.exit(0); // its connections are kept open for an hour otherwise
