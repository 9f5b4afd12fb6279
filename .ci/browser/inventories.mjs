// Writes the inventories for the pages: hostile names, and 10,000 machines of 200 clusters on 64 nodes.
import { readFileSync, writeFileSync } from "node:fs";

const [source, out] = process.argv.slice(2);
const base = JSON.parse(readFileSync(source, "utf8"));
const nodes = base.nodes;

const names = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "a\u202efdp.exe\u2066", "a\u001b]0;t\u0007\u009b", "x".repeat(200)];
const hostile = nodes.slice(0, 1).flatMap((node) => names.map((name) => ({
  ...node,
  name,
  storages: { known: node.storages.known.map((storage) => ({ ...storage, name, node: name })) },
  vms: { known: names.map((vm, at) => ({ id: at, name: `${vm}-${name}`, running: at % 2 === 0, memory: 1, memory_used: 1, tags: [`machine-request.${vm}`] })) },
})));
writeFileSync(`${out}/hostile.json`, JSON.stringify({ ...base, endpoint: names[0], version: names[1], nodes: hostile }));

const large = Array.from({ length: 64 }, (_, node) => ({ ...nodes[0], name: `pve${node + 1}`, vms: { known: [] } }));
for (let id = 0; id < 10000; id++) {
  const set = `fleet-${String(id % 200).padStart(3, "0")}-${Math.floor(id / 200) % 50 < 3 ? "control-planes" : "workers"}`;
  const vm = { id: 100 + id, name: `${set}-${(id * 7919 + 1e6).toString(36)}`, running: id % 997 !== 0, memory: 4 << 30, memory_used: 1 << 30, tags: [`machine-request.${set}`] };
  large[id % 64].vms.known.push(vm);
}
writeFileSync(`${out}/large.json`, JSON.stringify({ ...base, nodes: large }));
