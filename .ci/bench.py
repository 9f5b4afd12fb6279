#!/usr/bin/env python3
"""What the runner costs, measured: `.ci/bench.py [SECTION…]`, with the sections of SECTIONS.

Nothing here is a test: it prints figures, and docs/benchmarks.md keeps them.
"""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
XTASK, LAB = ROOT / "target/debug/xtask", ROOT / "target/debug/lab"
# What one start of omnictl 1.9.3 costs, in milliseconds of a processor.
TOOL_START_MS = 40
# Virtual machines, nodes, storages and clusters.
SIZES = [(10, 3, 3, 1), (100, 3, 5, 2), (1_000, 7, 50, 20), (10_000, 64, 500, 200)]
# The tasks, and the time and memory that each may take at the largest size.
TASKS = [
    ("cluster-status", "2 s, 150 MB"),
    ("cluster-status fleet-001", "2 s, 150 MB"),
    ("cluster-explain fleet-001", "1.5 s, 150 MB"),
    ("provider-verify", "2 s, 150 MB"),
    ("cluster-sync --all --yes", "5 s, 150 MB"),
    ("drift", "2 s, 150 MB"),
]
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run(words, **more):
    """Runs a command, which must succeed; its standard output."""
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def timed(words, **more):
    """How long a command takes, in seconds."""
    begun = time.monotonic()
    run(words, **more)
    return time.monotonic() - begun


def shown(seconds):
    return f"{seconds:.1f} s" if seconds >= 2 else f"{seconds * 1e3:.1f} ms"


def header():
    print("| what | median | bound |\n| --- | --- | --- |")


def row(what, times, bound):
    print(f"| {what} | {shown(statistics.median(times))} | {bound} |")


def field(pid, name):
    """A field of /proc/PID/status in KiB; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def watched(words, output=subprocess.DEVNULL, **more):
    """Runs a command: its exit status, seconds, its most memory, and the most that it and its children had, in KiB."""
    own = together = 0
    begun = time.monotonic()
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([str(word) for word in words], **streams, **more) as child:
        while child.poll() is None:
            children = []
            for thread in pathlib.Path(f"/proc/{child.pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    children += thread.read_text().split()
            own = max(own, field(child.pid, "VmHWM:"))
            together = max(together, field(child.pid, "VmRSS:") + sum(field(pid, "VmRSS:") for pid in children))
            time.sleep(0.003)
        return child.returncode, time.monotonic() - begun, own, together


class Lab:
    """A running lab with a project."""

    def __init__(self, scratch, name, *options):
        self.dir = scratch / f"lab-{name}"
        words = [LAB, "serve", "--dir", self.dir, "--until-stdin-closes", *options]
        self.child = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ready = json.loads(self.child.stdout.readline())
        self.project = self.dir / "project"
        for folder in ["docker", "target", "clusters", "machine-classes"]:
            (self.project / folder).mkdir(parents=True)
            # What a lab of some size has in it, an operator has files of.
            for file in (self.dir / folder).glob("*.yaml"):
                shutil.copy(file, self.project / folder)
        for file in ["docker/compose.yaml", "docker/config.yaml.example"]:
            shutil.copy(ROOT / file, self.project / file)
        lines = (ROOT / "docker/.env.example").read_text().splitlines()
        given = {"OMNI_TLS_CERT": "./config.yaml.example", "OMNI_TLS_KEY": "./config.yaml.example"}
        given["OMNI_DOMAIN"] = ready["omni_domain"]
        filled = [f"{name}={given[name]}" if (name := line.split("=")[0]) in given else line for line in lines]
        (self.project / "docker/omni.asc").touch()
        (self.project / "docker/.env").write_text("\n".join(filled) + "\n")
        self.env = {**os.environ, "HOME": str(self.dir)}
        self.env.pop("XDG_STATE_HOME", None)
        for line in pathlib.Path(ready["env_file"]).read_text().splitlines():
            if line.startswith("export ") and "=" in line:
                name, value = line.removeprefix("export ").split("=", 1)
                self.env[name] = value.strip("'\"").replace("$PATH", os.environ["PATH"])
        run(self.task("provider-setup --yes"), env=self.env)

    def task(self, line):
        return [XTASK, *line.split(), "--project-dir", self.project]

    def end(self):
        self.child.stdin.close()
        self.child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def lines(_):
    """Lines of Rust in each crate, those of tests included, and packages in the lock file."""
    print("| crate | lines |\n| --- | --- |")
    total = 0
    for folder in ["xtask/src", "xtask/tests", "xtask/runtime", "xtask/check", "xtask/domain", "xtask/selector", "lab"]:
        count = sum(len(file.read_text().splitlines()) for file in (ROOT / folder).rglob("*.rs"))
        print(f"| `{folder}` | {count} |")
        total += count
    packages = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"| together | {total} |\n| packages in `Cargo.lock` | {packages} |")


def clone(scratch):
    """What a fresh clone costs whose packages are in cargo's registry already, and an edit in it."""
    place = scratch / "clone"
    run(["git", "clone", "--quiet", ROOT, place])
    header()
    begun = time.monotonic()
    streams = {**QUIET, "stderr": subprocess.PIPE}
    with subprocess.Popen(["cargo", "xtask", "rehearse"], cwd=place, **streams) as child:
        output = child.stderr.read(1)
        first = time.monotonic() - begun
        output += child.stderr.read()
    if child.returncode != 0:
        sys.exit(output.decode(errors="replace"))
    row("`cargo xtask rehearse` in a fresh clone, its first output", [first], "2 s")
    row("… all of it, with every build", [time.monotonic() - begun], "60 s")
    for what, file, words, bound in [
        ("`cargo xtask --help` after an edit of a task", "xtask/src/task/doctor.rs", "cargo xtask --help", "2 s"),
        ("`cargo test --package check` after an edit of a rule", "xtask/check/src/machine_class.rs", "cargo test --quiet --package check", "8 s"),
    ]:
        run(words.split(), cwd=place)
        times = []
        for number in range(3):
            # A private function more, which the compiler cannot skip as it skips a comment.
            with (place / file).open("a") as text:
                text.write(f"\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}\n")
            times.append(timed(words.split(), cwd=place))
        row(what, times, bound)
    shutil.rmtree(place)


def start(_):
    """`cargo xtask --help`, warm, and the runner's own start."""
    header()
    row("`cargo xtask --help`", [timed(["cargo", "xtask", "--help"], cwd=ROOT) for _ in range(40)], "100 ms")
    row("start of the runner itself (`xtask --help`)", [timed([XTASK, "--help"], cwd=ROOT) for _ in range(40)], "10 ms")


def rehearse(_):
    """The rehearsal with everything built."""
    whole, inner = [], []
    for _ in range(5):
        begun = time.monotonic()
        document = json.loads(run(["cargo", "xtask", "rehearse", "--json"], cwd=ROOT))
        whole.append(time.monotonic() - begun)
        inner.append(document["data"]["elapsed_ms"] / 1e3)
    header()
    row("`rehearse`, from the start of the lab to Running with six machines", inner, "3 s")
    row("`cargo xtask rehearse`, all of it", whole, "3 s")


def verify(scratch):
    """`provider-verify` with every simulated service slowed by a second."""
    lab = Lab(scratch, "slow", "--latency-ms", "1000")
    header()
    times = [timed(lab.task("provider-verify"), env=lab.env) for _ in range(5)]
    row("`provider-verify` with every simulated service slowed by 1 s", times, "1.5 s")
    lab.end()


def beside(scratch):
    """A task next to the programs that it calls."""
    lab = Lab(scratch, "quick")
    compose = "docker compose -p omni-scale --env-file /dev/null"
    ps, logs = f"{compose} ps --all --format json", f"{compose} logs --no-log-prefix --tail=20 proxmox-provider"
    header()
    for what, task, bare in [
        ("`xtask provider-status` beyond bare `docker compose ps` and `logs`", "provider-status", [ps, logs]),
        ("`xtask cluster-status` beyond bare `omnictl get`", "cluster-status", ["omnictl get clusters -o json"]),
    ]:
        beyond = []
        for _ in range(20):
            ours = timed(lab.task(task), env=lab.env)
            tools = [[lab.dir / "bin" / (words := line.split())[0], *words[1:]] for line in bare]
            beyond.append(max(0, ours - sum(timed(tool, env=lab.env) for tool in tools)))
        row(what, beyond, "20 ms")
    lab.end()


def project(scratch, count):
    """A project with so many classes and as many templates, each as an operator would have it."""
    place = scratch / f"checks-{count}"
    for folder in ["docker", "machine-classes", "clusters"]:
        (place / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/compose.yaml", place / "docker")
    machine_class = (ROOT / "machine-classes/matrix-worker.yaml").read_text()
    patch = "patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n          vm.max_map_count: \"262144\"\n---"
    template = (ROOT / "clusters/matrix.yaml").read_text().replace("---", patch, 1)
    for number in range(count):
        name = f"matrix-worker-{number}"
        (place / f"machine-classes/{name}.yaml").write_text(machine_class.replace("matrix-worker", name))
        text = template.replace("name: matrix\n", f"name: matrix-{number}\n")
        text = text.replace("matrix-controlplane", f"matrix-worker-{(number + 1) % count}").replace("matrix-worker\n", f"{name}\n")
        (place / f"clusters/matrix-{number}.yaml").write_text(text)
    return place


def checks(scratch):
    """What the checks cost: a thousand and ten thousand classes and templates, and a selector over 500 storages of 64 nodes."""
    header()
    of_thousand = None
    for count, rounds, bound in [(1_000, 5, "0.5 s"), (10_000, 3, "5 s")]:
        place, times, peak = project(scratch, count), [], 0
        for _ in range(rounds):
            took = 0
            for task in ["machineclass-check", "cluster-check"]:
                with (place / "out.json").open("w") as out:
                    words = [XTASK, task, "--all", "--offline", "--json", "--project-dir", place]
                    _, seconds, own, _ = watched(words, out, cwd=place)
                found = len(json.loads((place / "out.json").read_text())["data"]["files"])
                if found != count:
                    sys.exit(f"{task} looked at {found} files of {count}")
                took, peak = took + seconds, max(peak, own)
            times.append(took)
        row(f"{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`", times, bound)
        print(f"| … the most memory of either | {peak // 1024} MiB | 300 MB |")
        if of_thousand is None:
            of_thousand = statistics.median(times)
            beside_omnictl(place, of_thousand, count)
        else:
            print(f"| … as many times as for a thousand of each | {statistics.median(times) / of_thousand:.1f} | 10 |")
        shutil.rmtree(place)
    selector(scratch)


def beside_omnictl(place, ours, count):
    """One `omnictl cluster template validate` after the other, as many as there are files, by the time that twenty take."""
    what = "| … beside an `omnictl cluster template validate` for each file"
    if shutil.which("omnictl") is None:
        print(f"{what} | no omnictl on PATH | 100 times |")
        return
    files = [place / f"clusters/matrix-{number}.yaml" for number in range(20)]
    one = statistics.median(timed(["omnictl", "cluster", "template", "validate", "-f", file]) for file in files)
    print(f"{what} ({shown(one)} each) | {one * count * 2 / ours:.0f} times faster | 100 times |")


def selector(scratch):
    """`selector-test` over 500 storages of 64 nodes, from the step that begins when the storages are read."""
    place = project(scratch, 1)
    storages = [
        {"name": f"pool-{pool}", "node": f"pve{node}", "storageType": "rbd", "availableSpace": 1 << 40}
        for node in range(64)
        for pool in range(500)
    ]
    (place / "storages.json").write_text(json.dumps(storages))
    for text in [
        'storageType == "rbd" && name == "pool-7"',
        'name.matches("^pool-[0-9]$") && availableSpace > 100u',
        '["pool-1", "pool-2"].exists(p, p == name)',
    ]:
        times = []
        for _ in range(5):
            words = [XTASK, "selector-test", text, "--offline", "--json", "--storages", "storages.json", "--project-dir", place]
            steps = json.loads(run(words, cwd=place))["steps"]
            times.append(next(step["elapsed_ms"] for step in steps if step["id"] == "evaluate") / 1e3)
        escaped = text.replace("|", "\\|")
        row(f"`selector-test` over 500 storages of 64 nodes: `{escaped}`", times, "100 ms")


def settle(lab):
    """Waits until the provider has looked at every machine once: that is work of the lab, not of the task."""
    busy = lambda: int(pathlib.Path(f"/proc/{lab.child.pid}/schedstat").read_text().split()[0])
    for _ in range(120):
        before = busy()
        time.sleep(0.5)
        if busy() - before < 50_000_000:
            return
    sys.exit("the lab does not come to rest")


def scale(scratch):
    """How tasks grow with the site: 10 to 10,000 virtual machines, which are the machines of up to 200 clusters."""
    print("\n| task | VMs | clusters | time | memory | with its programs | program calls | bound |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for vms, nodes, storages, clusters in SIZES:
        size = f"--vms {vms} --nodes {nodes} --storages {storages} --clusters {clusters} --tool-start-ms {TOOL_START_MS}"
        lab = Lab(scratch, f"scale-{vms}", *size.split())
        settle(lab)
        journal = lab.dir / ".local/state/omni-scale/journal.jsonl"
        for task, bound in TASKS:
            times, own, together = [], 0, 0
            for _ in range(5):
                journal.unlink(missing_ok=True)
                code, seconds, most, all_most = watched(lab.task(task), env=lab.env)
                # 1: the task ran and found something to fix.
                if code not in (0, 1):
                    sys.exit(f"{task} exited with {code}")
                times.append(seconds)
                own, together = max(own, most), max(together, all_most)
            calls = {}
            for line in journal.read_text().splitlines() if journal.exists() else []:
                name = pathlib.PurePath(shlex.split(json.loads(line)["line"])[0]).name
                calls[name] = calls.get(name, 0) + 1
            called = ", ".join(f"{count} {name}" for name, count in sorted(calls.items()))
            cells = [f"`{task}`", vms, clusters, shown(statistics.median(times))]
            cells += [f"{own / 1024:.0f} MB", f"{together / 1024:.0f} MB", called, bound]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
        lab.end()


SECTIONS = [lines, clone, start, rehearse, verify, beside, checks, scale]


def main():
    wanted = sys.argv[1:]
    names = [section.__name__ for section in SECTIONS]
    if unknown := [word for word in wanted if word not in names]:
        sys.exit(f"there is no section `{unknown[0]}`: {', '.join(names)}")
    for package in ["xtask", "lab"]:
        run(["cargo", "build", "--quiet", "--package", package], cwd=ROOT)
    with tempfile.TemporaryDirectory(prefix="omni-scale-bench-") as scratch:
        for section in SECTIONS:
            if not wanted or section.__name__ in wanted:
                print(f"\n## {section.__name__}\n", flush=True)
                section(pathlib.Path(scratch))


main()
