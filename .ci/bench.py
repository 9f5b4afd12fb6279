#!/usr/bin/env python3
"""What the runner costs, measured: prints figures as tables, of which docs/benchmarks.md keeps some.

    .ci/bench.py [SECTION…]

Sections: lines clone start rehearse verify beside checks scale; without any, all of them. Needs only what the project needs.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
XTASK, LAB = ROOT / "target/debug/xtask", ROOT / "target/debug/lab"
SCRATCH = Path(tempfile.mkdtemp(prefix="omni-scale-bench-"))


def done(words, **options):
    """Runs a program, which must succeed; gives its output."""
    ran = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if ran.returncode != 0:
        raise SystemExit(f"{words} ended with {ran.returncode}: {ran.stderr}")
    return ran.stdout


def timed(words, **options):
    """How many seconds a program takes."""
    begun = time.monotonic()
    done(words, **options)
    return time.monotonic() - begun


def shown(seconds):
    return f"{seconds:.1f} s" if seconds >= 2 else f"{seconds * 1e3:.1f} ms"


def header(*columns):
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))


def row(what, times, bound):
    print(f"| {what} | {shown(statistics.median(times))} | {bound} |", flush=True)


def lines():
    """Lines of Rust in each crate, those of tests included, and packages in the lock file."""
    header("crate", "lines")
    together = 0
    for part in ("xtask/src", "xtask/tests", "xtask/runtime", "xtask/check", "xtask/domain", "xtask/selector", "lab"):
        count = sum(len(file.read_bytes().splitlines()) for file in (ROOT / part).rglob("*.rs"))
        print(f"| `{part}` | {count} |")
        together += count
    packages = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"| together | {together} |\n| packages in `Cargo.lock` | {packages} |")


def clone():
    """What a fresh clone costs whose packages are in cargo's registry already, and an edit in it."""
    tree = SCRATCH / "clone"
    done(["git", "clone", "--quiet", ROOT, tree])
    header("what", "median", "bound")
    begun = time.monotonic()
    child = subprocess.Popen(["cargo", "xtask", "rehearse"], cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
    child.stderr.read(1)
    first = time.monotonic() - begun
    child.stderr.read()
    assert child.wait() == 0, "the rehearsal failed"
    row("`cargo xtask rehearse` in a fresh clone, its first output", [first], "2 s")
    row("… all of it, with every build", [time.monotonic() - begun], "60 s")
    for file, words, what, bound in (
        ("xtask/src/task/doctor.rs", ["xtask", "--help"], "`cargo xtask --help` after an edit of a task", "2 s"),
        ("xtask/check/src/machine_class.rs", ["test", "--quiet", "--package", "check"],
         "`cargo test --package check` after an edit of a rule", "8 s"),
    ):
        done(["cargo", *words], cwd=tree)
        times = []
        for number in range(3):
            # A private function more, which the compiler cannot skip as it skips a comment.
            with open(tree / file, "a", encoding="utf-8") as source:
                source.write(f"\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}\n")
            times.append(timed(["cargo", *words], cwd=tree))
        row(what, times, bound)
    shutil.rmtree(tree)


def start():
    """`cargo xtask --help`, warm, and the runner's own start."""
    header("what", "median", "bound")
    row("`cargo xtask --help`", [timed(["cargo", "xtask", "--help"], cwd=ROOT) for _ in range(40)], "100 ms")
    row("start of the runner itself (`xtask --help`)", [timed([XTASK, "--help"]) for _ in range(40)], "10 ms")


def rehearse():
    """The rehearsal with everything built."""
    whole, inner = [], []
    for _ in range(5):
        begun = time.monotonic()
        document = json.loads(done(["cargo", "xtask", "rehearse", "--json"], cwd=ROOT))
        whole.append(time.monotonic() - begun)
        inner.append(document["data"]["elapsed_ms"] / 1e3)
    header("what", "median", "bound")
    row("`rehearse`, from the start of the lab to Running with six machines", inner, "1.5 s")
    row("`cargo xtask rehearse`, all of it", whole, "3 s")


class Lab:
    """A running lab with a project."""

    def __init__(self, name, *options):
        self.dir = SCRATCH / f"lab-{name}"
        words = [LAB, "serve", "--dir", self.dir, "--until-stdin-closes", *options]
        self.child = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.child.stdout.readline())
        self.project = self.dir / "project"
        for folder in ("docker", "target", "clusters", "machine-classes"):
            (self.project / folder).mkdir(parents=True, exist_ok=True)
        for file in ("docker/compose.yaml", "docker/config.yaml.example"):
            shutil.copy(ROOT / file, self.project / file)
        # What a lab of some size has in it, an operator has files of.
        for folder in ("clusters", "machine-classes"):
            for file in (self.dir / folder).glob("*"):
                shutil.copy(file, self.project / folder)
        env = (ROOT / "docker/.env.example").read_text()
        env = re.sub(r"^(OMNI_TLS_(?:CERT|KEY))=.*$", r"\1=./config.yaml.example", env, flags=re.M)
        env = re.sub(r"^OMNI_DOMAIN=.*$", f"OMNI_DOMAIN={ready['omni_domain']}", env, flags=re.M)
        (self.project / "docker/.env").write_text(env)
        (self.project / "docker/omni.asc").write_text("")
        exports = re.findall(r"^export (\w+)=(.*)$", Path(ready["env_file"]).read_text(), flags=re.M)
        given = {name: value.replace("'", "").replace('"', "").replace("$PATH", os.environ["PATH"]) for name, value in exports}
        self.env = {**os.environ, **given, "HOME": str(self.dir)}
        self.env.pop("XDG_STATE_HOME", None)
        done(self.task("provider-setup", "--yes"), env=self.env)

    def task(self, *words):
        return [XTASK, *words, "--project-dir", self.project]

    def timed(self, words):
        return timed(words, env=self.env)

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def verify():
    """`provider-verify` with every simulated service slowed by a second."""
    lab = Lab("slow", "--latency-ms", "1000")
    header("what", "median", "bound")
    times = [lab.timed(lab.task("provider-verify")) for _ in range(5)]
    row("`provider-verify` with every simulated service slowed by 1 s", times, "1.5 s")
    lab.end()


def beside():
    """A task next to the programs that it calls."""
    lab = Lab("quick")
    by_name = [lab.dir / "bin/docker", "compose", "-p", "omni-scale", "--env-file", "/dev/null"]
    logs = [*by_name, "logs", "--no-log-prefix", "--tail=20", "proxmox-provider"]
    clusters = [lab.dir / "bin/omnictl", "get", "clusters", "-o", "json"]
    header("what", "median", "bound")
    for what, task, bare in (
        ("`xtask provider-status` beyond bare `docker compose ps` and `logs`", "provider-status",
         [[*by_name, "ps", "--all", "--format", "json"], logs]),
        ("`xtask cluster-status` beyond bare `omnictl get`", "cluster-status", [clusters]),
    ):
        pairs = [(lab.timed(lab.task(task)), sum(lab.timed(words) for words in bare)) for _ in range(20)]
        row(what, [max(ours - programs, 0) for ours, programs in pairs], "20 ms")
    lab.end()


def project(count):
    """A project with so many classes and as many templates, each as an operator would have it."""
    tree = SCRATCH / f"checks-{count}"
    for folder in ("docker", "machine-classes", "clusters"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/compose.yaml", tree / "docker")
    one = (ROOT / "machine-classes/matrix-worker.yaml").read_text()
    patch = ("patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n"
             "          vm.max_map_count: \"262144\"\n---")
    template = (ROOT / "clusters/matrix.yaml").read_text().replace("---", patch, 1)
    for number in range(count):
        (tree / f"machine-classes/matrix-worker-{number}.yaml").write_text(one.replace("matrix-worker", f"matrix-worker-{number}"))
        text = template.replace("name: matrix\n", f"name: matrix-{number}\n")
        text = text.replace("matrix-controlplane", f"matrix-worker-{(number + 1) % count}")
        (tree / f"clusters/matrix-{number}.yaml").write_text(text.replace("matrix-worker\n", f"matrix-worker-{number}\n"))
    return tree


def memory(pid, field):
    """A field of a process's status in MiB; 0 where the system does not say."""
    try:
        found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), flags=re.M)
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else 0


def watched(words, env=None, out=subprocess.DEVNULL):
    """Exit status, seconds, and the most memory of a program itself and together with those that it started."""
    begun = time.monotonic()
    child = subprocess.Popen([str(word) for word in words], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL)
    own = everything = 0
    while child.poll() is None:
        try:
            children = [Path(thread, "children").read_text().split() for thread in Path(f"/proc/{child.pid}/task").iterdir()]
        except OSError:
            children = []
        own = max(own, memory(child.pid, "VmHWM"))
        everything = max(everything, memory(child.pid, "VmRSS") + sum(memory(pid, "VmRSS") for pids in children for pid in pids))
        time.sleep(0.002)
    return child.returncode, time.monotonic() - begun, own, everything


def checks():
    """A thousand and ten thousand classes and templates, and a selector over 500 storages of 64 nodes."""
    header("what", "median", "bound")
    of_thousand = None
    for count, rounds, bound in ((1_000, 5, "0.5 s"), (10_000, 3, "5 s")):
        tree = project(count)
        both, peak = [], 0
        for _ in range(rounds):
            took = 0
            for task in ("machineclass-check", "cluster-check"):
                with open(tree / "out.json", "wb") as out:
                    _, seconds, own, _ = watched([XTASK, task, "--all", "--offline", "--json", "--project-dir", tree], out=out)
                document = json.loads((tree / "out.json").read_text())
                assert len(document["data"]["files"]) == count, document["summary"]
                took, peak = took + seconds, max(peak, own)
            both.append(took)
        row(f"{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`", both, bound)
        print(f"| … the most memory of either | {peak:.0f} MiB | 300 MB |")
        if of_thousand is None:
            of_thousand = statistics.median(both)
            if shutil.which("omnictl"):
                files = [tree / f"clusters/matrix-{number}.yaml" for number in range(20)]
                one = statistics.median(timed(["omnictl", "cluster", "template", "validate", "-f", file]) for file in files)
                ratio = one * count * 2 / of_thousand
                print(f"| … beside an `omnictl cluster template validate` for each file ({shown(one)} each) | {ratio:.0f} times faster | 100 times |")
        else:
            print(f"| … as many times as for a thousand of each | {statistics.median(both) / of_thousand:.1f} | 10 |")
        shutil.rmtree(tree)
    tree = project(1)
    storages = [{"name": f"pool-{number}", "node": f"pve{node}", "storageType": "rbd", "availableSpace": 1 << 40}
                for node in range(64) for number in range(500)]
    (tree / "storages.json").write_text(json.dumps(storages))
    for selector in ('storageType == "rbd" && name == "pool-7"', 'name.matches("^pool-[0-9]$") && availableSpace > 100u',
                     '["pool-1", "pool-2"].exists(p, p == name)'):
        times = []
        for _ in range(5):
            words = ["selector-test", selector, "--offline", "--json", "--storages", "storages.json", "--project-dir", tree]
            steps = json.loads(done([XTASK, *words], cwd=tree))["steps"]
            times.append(next(step["elapsed_ms"] for step in steps if step["id"] == "evaluate") / 1e3)
        row(f"`selector-test` over 500 storages of 64 nodes: `{selector}`", times, "100 ms")


def cpu(pid):
    """How much a process has worked, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def scale():
    """How tasks grow with the site: up to 10,000 virtual machines, which are the machines of up to 200 clusters."""
    header("task", "VMs", "clusters", "time", "memory", "with its programs", "program calls", "bound")
    for vms, nodes, storages, clusters in ((10, 3, 3, 1), (100, 3, 5, 2), (1_000, 7, 50, 20), (10_000, 64, 500, 200)):
        # What one start of omnictl 1.9.3 costs, in milliseconds of a processor.
        lab = Lab(f"scale-{vms}", "--vms", vms, "--nodes", nodes, "--storages", storages, "--clusters", clusters, "--tool-start-ms", 40)
        # Until the provider has looked at every machine once: that is work of the lab, not of the task.
        for _ in range(120):
            before = cpu(lab.child.pid)
            time.sleep(0.5)
            if cpu(lab.child.pid) - before < 0.05:
                break
        for task, bound in (("cluster-status", "2 s, 150 MB"), ("cluster-status fleet-001", "2 s, 150 MB"),
                            ("provider-verify", "2 s, 150 MB"), ("cluster-sync --all --yes", "5 s, 150 MB"),
                            ("drift", "2 s, 150 MB")):
            costs = []
            for _ in range(5):
                journal = lab.dir / ".local/state/omni-scale/journal.jsonl"
                journal.unlink(missing_ok=True)
                status, *cost = watched(lab.task(*task.split()), env=lab.env)
                assert status == 0, f"{task} ended with {status}"
                costs.append(cost)
            called = [Path(json.loads(line)["line"].split()[0]).name for line in journal.read_text().splitlines()]
            calls = ", ".join(f"{called.count(name)} {name}" for name in sorted(set(called)))
            seconds, own, everything = zip(*costs)
            print(f"| `{task}` | {vms} | {clusters} | {shown(statistics.median(seconds))} | {max(own):.0f} MB | {max(everything):.0f} MB "
                  f"| {calls} | {bound} |", flush=True)
        lab.end()


SECTIONS = {section.__name__: section for section in (lines, clone, start, rehearse, verify, beside, checks, scale)}


def main(wanted):
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise SystemExit(f"there is no section `{unknown[0]}`: {', '.join(SECTIONS)}")
    try:
        for package in ("xtask", "lab"):
            done(["cargo", "build", "--quiet", "--package", package], cwd=ROOT)
        for name, section in SECTIONS.items():
            if not wanted or name in wanted:
                print(f"\n## {name}\n")
                section()
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
