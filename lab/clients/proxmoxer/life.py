"""A VM's whole life and an audit of permissions, through proxmoxer.

Environment: PVE_HOST, PVE_PORT, PVE_CA (PEM file), PVE_TOKEN_ID, PVE_TOKEN_SECRET, PVE_ROOT_PASSWORD.
"""

import io
import os
import time

from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException

HOST, PORT, CA = os.environ["PVE_HOST"], int(os.environ["PVE_PORT"]), os.environ["PVE_CA"]
USER, TOKEN = os.environ["PVE_TOKEN_ID"].split("!")
SECRET, PASSWORD = os.environ["PVE_TOKEN_SECRET"], os.environ["PVE_ROOT_PASSWORD"]


def connect(**auth):
    return ProxmoxAPI(HOST, port=PORT, verify_ssl=CA, timeout=30, **auth)


def wait(pve, upid):
    """Waits for a task; returns how it ended."""
    node = upid.split(":")[1]
    for _ in range(600):
        status = pve.nodes(node).tasks(upid).status.get()
        if status["status"] == "stopped":
            return status["exitstatus"]
        time.sleep(0.05)
    raise AssertionError(f"{upid} does not end")


def refused(status, text, call, *args, **kwargs):
    """A call that must be refused, with the text of Proxmox VE in the status line."""
    try:
        call(*args, **kwargs)
    except ResourceException as error:
        assert error.status_code == status, error
        assert text in str(error), error
        return error
    raise AssertionError(f"{text}: it was not refused")


def image():
    """An ISO 9660 image as far as its label goes: what cloud-init data look like."""
    data = bytearray(51200)
    data[16 * 2048 + 40 : 16 * 2048 + 72] = b"cidata".ljust(32)
    file = io.BytesIO(bytes(data))
    file.name = "user-data-life.iso"
    return file


def life(pve):
    assert pve.version.get()["version"].startswith("9.")
    nodes = {node["node"]: node for node in pve.nodes.get()}
    assert nodes["pve1"]["status"] == "online" and nodes["pve1"]["maxmem"] > 0, nodes
    node = pve.nodes("pve1")
    assert {"local", "local-lvm"} <= {storage["storage"] for storage in node.storage.get()}
    assert "vmbr0" in [bridge["iface"] for bridge in node.network.get(type="bridge")]

    url = "https://factory.talos.dev/image/0/1.13.5/nocloud-amd64.iso"
    upid = node.storage("local")("download-url").post(content="iso", filename="life.iso", url=url)
    assert wait(pve, upid) == "OK"
    assert wait(pve, node.storage("local").upload.post(content="iso", filename=image())) == "OK"
    volumes = {volume["volid"] for volume in node.storage("local").content.get(content="iso")}
    assert {"local:iso/life.iso", "local:iso/user-data-life.iso"} <= volumes, volumes

    vmid = int(pve.cluster.nextid.get())
    options = dict(vmid=vmid, name="life-proxmoxer", cores=2, sockets=1, memory=2048, onboot=1, tags="life;proxmoxer",
                   scsihw="virtio-scsi-single", scsi0="local-lvm:20,discard=on", net0="virtio,bridge=vmbr0",
                   cdrom="local:iso/life.iso", agent="enabled=1")
    error = refused(400, "Parameter verification failed.", node.qemu.post, **{**options, "sockets": 0})
    assert error.errors == {"sockets": "value must have a minimum value of 1"}, error.errors
    assert wait(pve, node.qemu.post(**options)) == "OK"
    refused(500, f"VM {vmid} already exists on node 'pve1'", node.qemu.post, **options)

    vm = node.qemu(vmid)
    config = vm.config.get()
    assert config["scsi0"].startswith(f"local-lvm:vm-{vmid}-disk-0,") and config["boot"] == "order=scsi0;ide2;net0", config
    assert wait(pve, vm.config.post(ide0="local:iso/user-data-life.iso,media=cdrom")) == "OK"
    assert vm.config.put(delete="onboot", description="from Python") is None
    assert "onboot" not in vm.config.get()

    assert wait(pve, vm.status.start.post()) == "OK"
    assert vm.status.current.get()["status"] == "running"
    assert vmid in [entry["vmid"] for entry in pve.cluster.resources.get(type="vm")]
    refused(500, f"VM {vmid} is running - destroy failed", vm.delete)
    assert wait(pve, vm.status.shutdown.post()) == "OK"
    upid = vm.delete()
    assert wait(pve, upid) == "OK"
    log = [line["t"] for line in node.tasks(upid).log.get()]
    assert log[-1] == "TASK OK" and any(f"vm-{vmid}-disk-0" in line for line in log), log
    refused(500, "does not exist", vm.config.get)
    for name in ("life.iso", "user-data-life.iso"):
        assert wait(pve, node.storage("local").content(f"local:iso/{name}").delete()) == "OK"


def audit(pve, root):
    tree = pve.access.permissions.get()
    assert tree["/storage/local"]["Datastore.AllocateTemplate"] == 1 and "/" not in tree, tree
    refused(403, "Permission check failed (/, Sys.Audit)", pve.cluster.status.get)
    refused(403, "Permission check failed", pve.access.permissions.get, userid="root@pam")
    refused(501, "Method 'GET /nonsense' not implemented", pve.nonsense.get)

    root.access.roles.post(roleid="AuditLife", privs="VM.Audit")
    root.access.users.post(userid="audit-life@pve", comment="proxmoxer")
    root.access.acl.put(path="/vms", users="audit-life@pve", roles="AuditLife")
    made = root.access.users("audit-life@pve").token("life").post(privsep=0)
    reader = connect(user="audit-life@pve", token_name="life", token_value=made["value"])
    assert reader.access.permissions.get() == {"/vms": {"VM.Audit": 1}}
    refused(403, "Permission check failed", reader.nodes("pve1").qemu.post, vmid=999, name="no")
    assert reader.nodes("pve1").storage.get() == []
    root.access.users("audit-life@pve").delete()
    root.access.roles("AuditLife").delete()
    refused(401, "no such user", reader.version.get)


def main():
    pve = connect(user=USER, token_name=TOKEN, token_value=SECRET)
    root = connect(user="root@pam", password=PASSWORD)
    life(pve)
    life(root)
    audit(pve, root)
    try:
        connect(user="root@pam", password="wrong").version.get()
    except AuthenticationError:
        pass
    else:
        raise AssertionError("a wrong password was accepted")
    print("proxmoxer: a VM's life with token and with password, and an audit of permissions")


if __name__ == "__main__":
    main()
