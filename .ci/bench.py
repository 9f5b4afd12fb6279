#!/usr/bin/env python3
"""Measures what the runner costs: prints the figures that docs/benchmarks.md keeps. Nothing here is a test.

    .ci/bench.py                    # all sections
    .ci/bench.py lines start        # lines clone start rehearse verify beside checks scale
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROOT = pathlib.Path(__file__).resolve().parent.parent
XTASK = ROOT / "target/debug/xtask"
CRATES = ["xtask/src", "xtask/tests", "xtask/runtime", "xtask/check", "xtask/domain", "xtask/selector", "lab"]
# What one start of omnictl 1.9.3 costs, in milliseconds of a processor.
TOOL_START_MS = 40
# Virtual machines, nodes, storages and clusters.
SIZES = [(10, 3, 3, 1), (100, 3, 5, 2), (1_000, 7, 50, 20), (10_000, 64, 500, 200)]
# The tasks, and the time and memory that each may take at the largest size.
TASKS = [
    ("cluster-status", "2 s, 150 MB"),
    ("cluster-status fleet-001", "2 s, 150 MB"),
    ("cluster-status -o wide", "2 s, 150 MB"),
    ("cluster-explain fleet-001", "1.5 s, 150 MB"),
    ("provider-verify", "2 s, 150 MB"),
    ("cluster-sync --all --yes", "5 s, 150 MB"),
    ("drift", "2 s, 150 MB"),
    ("fleet-page --dry-run", "1 s, 200 MB"),
]


def timed(command, **options):
    """How long a command takes, which must succeed."""
    begun = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, **options)
    elapsed = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{command}: {done.stderr.decode(errors='replace')}")
    return elapsed


def answer(command, **options):
    """The JSON document that a task prints."""
    return json.loads(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, **options).stdout)


def seconds(value):
    return f"{value:.1f} s" if value >= 2 else f"{value * 1e3:.1f} ms"


def header():
    print("| what | median | bound |\n| --- | --- | --- |")


def row(what, times, bound):
    print(f"| {what} | {seconds(statistics.median(times))} | {bound} |")


def watched(command, stdout=subprocess.DEVNULL, **options):
    """Exit status and time of a command; the most memory of itself, and of it with its programs, in MiB."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL, **options)
    own = every = 0
    while child.poll() is None:
        found = memory(child.pid)
        own, every = max(own, found[0]), max(every, found[1])
        time.sleep(0.003)
    return child.returncode, time.perf_counter() - begun, own / 1024, every / 1024


def memory(pid):
    """The most memory that a process had so far, and what it and its children have now, in KiB."""

    def field(process, name):
        try:
            lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)

    children = []
    for thread in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += thread.read_text().split()
        except OSError:
            pass
    return field(pid, "VmHWM:"), field(pid, "VmRSS:") + sum(field(child, "VmRSS:") for child in children)


class Lab:
    """A running lab with a project."""

    def __init__(self, scratch, name, **options):
        self.dir = scratch / name
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        command = [ROOT / "target/debug/lab", "serve", "--dir", self.dir, "--until-stdin-closes", *words]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.child.stdout.readline())
        self.project = self.dir / "project"
        (self.project / "docker").mkdir(parents=True)
        (self.project / "target").mkdir()
        for file in ["compose.yaml", "no-providers.yaml", "config.yaml.example"]:
            shutil.copy(ROOT / "docker" / file, self.project / "docker")
        # A lab of some size has files of what is in it, as an operator has.
        for folder in ["clusters", "machine-classes"]:
            (self.dir / folder).mkdir(exist_ok=True)
            shutil.copytree(self.dir / folder, self.project / folder)
        lines = (ROOT / "docker/.env.example").read_text().splitlines()
        for number, line in enumerate(lines):
            if line.startswith(("OMNI_TLS_CERT=", "OMNI_TLS_KEY=")):
                lines[number] = line.replace("=", "=./config.yaml.example #", 1)
            if line.startswith("OMNI_DOMAIN="):
                lines[number] = f"OMNI_DOMAIN={ready['omni_domain']}"
        (self.project / "docker/omni.asc").touch()
        (self.project / "docker/.env").write_text("\n".join(lines) + "\n")
        exported = subprocess.run(["sh", "-c", '. "$1" && env -0', "sh", ready["env_file"]], capture_output=True, text=True).stdout
        self.env = dict(line.split("=", 1) for line in exported.split("\0") if line) | {"HOME": str(self.dir)}
        self.env.pop("XDG_STATE_HOME", None)
        timed(**self.task("provider-setup --yes"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()

    def task(self, words):
        return {"command": [XTASK, *words.split(), "--project-dir", self.project], "env": self.env}

    def tool(self, words):
        name, *args = words.split()
        return {"command": [self.dir / "bin" / name, *args], "env": self.env}

    def settle(self):
        """Waits until the provider has looked at every machine once: that is work of the lab, not of the task."""

        def busy():
            return int(pathlib.Path(f"/proc/{self.child.pid}/schedstat").read_text().split()[0])

        for _ in range(120):
            before = busy()
            time.sleep(0.5)
            if busy() - before < 50_000_000:
                return
        raise SystemExit("the lab does not come to rest")


def lines(_):
    """Lines of Rust in each crate, those of tests included, and packages in the lock file."""
    print("| crate | lines |\n| --- | --- |")
    together = 0
    for crate in CRATES:
        count = sum(len(file.read_text().splitlines()) for file in (ROOT / crate).rglob("*.rs"))
        print(f"| `{crate}` | {count} |")
        together += count
    packages = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"| together | {together} |\n| packages in `Cargo.lock` | {packages} |")


def clone(scratch):
    """What a fresh clone costs whose packages are in cargo's registry already, and an edit in it."""
    there = scratch / "clone"
    timed(["git", "clone", "--quiet", ROOT, there])
    header()
    begun = time.perf_counter()
    child = subprocess.Popen(
        ["cargo", "xtask", "rehearse"], cwd=there, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    output = child.stderr.read(1)
    first = time.perf_counter() - begun
    output += child.stderr.read()
    if child.wait():
        raise SystemExit(output.decode(errors="replace"))
    row("`cargo xtask rehearse` in a fresh clone, its first output", [first], "2 s")
    row("… all of it, with every build", [time.perf_counter() - begun], "60 s")

    def edits(file, words):
        timed(words, cwd=there)
        for number in range(3):
            with (there / file).open("a") as text:
                # A private function more, which the compiler cannot skip as it skips a comment.
                text.write(f"\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}\n")
            yield timed(words, cwd=there)

    help_after = edits("xtask/src/task/doctor.rs", ["cargo", "xtask", "--help"])
    row("`cargo xtask --help` after an edit of a task", list(help_after), "2 s")
    test_after = edits("xtask/check/src/machine_class.rs", ["cargo", "test", "--quiet", "--package", "check"])
    row("`cargo test --package check` after an edit of a rule", list(test_after), "8 s")


def start(_):
    """`cargo xtask --help`, warm, and the runner's own start."""
    header()
    row("`cargo xtask --help`", [timed(["cargo", "xtask", "--help"], cwd=ROOT) for _ in range(40)], "100 ms")
    row("start of the runner itself (`xtask --help`)", [timed([XTASK, "--help"]) for _ in range(40)], "10 ms")


def rehearse(_):
    """The rehearsal with everything built."""
    whole, inner = [], []
    for _ in range(5):
        begun = time.perf_counter()
        inner.append(answer(["cargo", "xtask", "rehearse", "--json"], cwd=ROOT)["data"]["elapsed_ms"] / 1e3)
        whole.append(time.perf_counter() - begun)
    header()
    row("`rehearse`, from the start of the lab to Running with six machines", inner, "3 s")
    row("`cargo xtask rehearse`, all of it", whole, "3 s")


def verify(scratch):
    """`provider-verify` with every simulated service slowed by a second."""
    with Lab(scratch, "slow", latency_ms=1000) as lab:
        times = [timed(**lab.task("provider-verify")) for _ in range(5)]
    header()
    row("`provider-verify` with every simulated service slowed by 1 s", times, "1.5 s")


def beside(scratch):
    """A task next to the programs that it calls."""
    compose = "docker compose -p omni-scale --env-file /dev/null"
    header()
    with Lab(scratch, "quick") as lab:
        for name, task, tools in [
            (
                "`xtask provider-status` beyond bare `docker compose ps` and `logs`",
                "provider-status",
                [f"{compose} ps --all --format json", f"{compose} logs --no-log-prefix --tail=20 proxmox-provider"],
            ),
            ("`xtask cluster-status` beyond bare `omnictl get`", "cluster-status", ["omnictl get clusters -o json"]),
        ]:
            beyond = [timed(**lab.task(task)) - sum(timed(**lab.tool(tool)) for tool in tools) for _ in range(20)]
            row(name, [max(0, value) for value in beyond], "20 ms")


def checks(scratch):
    """A thousand and ten thousand machine classes and templates, and a selector over 500 storages of 64 nodes."""
    header()
    of_thousand = None
    for count, rounds, bound in [(1_000, 5, "0.5 s"), (10_000, 3, "5 s")]:
        project = many(scratch, count)
        both, peak = [], 0
        for _ in range(rounds):
            costs = [check(project, task, count) for task in ["machineclass-check", "cluster-check"]]
            both.append(sum(elapsed for elapsed, _ in costs))
            peak = max(peak, *(own for _, own in costs))
        row(f"{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`", both, bound)
        print(f"| … the most memory of either | {peak:.0f} MiB | 300 MB |")
        median = statistics.median(both)
        if of_thousand:
            print(f"| … as many times as for a thousand of each | {median / of_thousand:.1f} | 10 |")
            continue
        of_thousand = median
        if not shutil.which("omnictl"):
            print("| … beside an `omnictl cluster template validate` for each file | no omnictl on PATH | 100 times |")
            continue
        # One validate after the other, as many as there are files, by the time that twenty of them take.
        files = [project / f"clusters/matrix-{number}.yaml" for number in range(20)]
        one = statistics.median(timed(["omnictl", "cluster", "template", "validate", "-f", file]) for file in files)
        what = f"… beside an `omnictl cluster template validate` for each file ({seconds(one)} each)"
        print(f"| {what} | {one * count * 2 / median:.0f} times faster | 100 times |")
    project = many(scratch, 1)
    storages = [
        {"name": f"pool-{number}", "node": f"pve{node}", "storageType": "rbd", "availableSpace": 1 << 40}
        for node in range(64)
        for number in range(500)
    ]
    (project / "storages.json").write_text(json.dumps(storages))
    for selector in [
        'storageType == "rbd" && name == "pool-7"',
        'name.matches("^pool-[0-9]$") && availableSpace > 100u',
        '["pool-1", "pool-2"].exists(p, p == name)',
    ]:
        words = ["selector-test", selector, "--offline", "--json", "--storages", "storages.json", "--project-dir", project]
        steps = [answer([XTASK, *words], cwd=project)["steps"] for _ in range(5)]
        # From the step that begins when the storages are read.
        times = [step["elapsed_ms"] / 1e3 for run in steps for step in run if step["id"] == "evaluate"]
        shown = selector.replace("|", "\\|")
        row(f"`selector-test` over 500 storages of 64 nodes: `{shown}`", times, "100 ms")


def many(scratch, count):
    """A project with so many classes and as many templates, each as an operator would have it."""
    project = scratch / f"checks-{count}"
    for folder in ["docker", "machine-classes", "clusters"]:
        (project / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/compose.yaml", project / "docker")
    machine_class = (ROOT / "machine-classes/matrix-worker.yaml").read_text()
    patch = 'patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n          vm.max_map_count: "262144"\n---'
    template = (ROOT / "clusters/matrix.yaml").read_text().replace("---", patch, 1)
    for number in range(count):
        own = f"matrix-worker-{number}"
        (project / f"machine-classes/{own}.yaml").write_text(machine_class.replace("matrix-worker", own))
        text = template.replace("name: matrix\n", f"name: matrix-{number}\n")
        text = text.replace("matrix-controlplane", f"matrix-worker-{(number + 1) % count}").replace("matrix-worker\n", f"{own}\n")
        (project / f"clusters/matrix-{number}.yaml").write_text(text)
    return project


def check(project, task, count):
    """Checks all files of a kind, every one of which must have been looked at: the time and the most memory in MiB."""
    with (project / "out.json").open("w+") as out:
        command = [XTASK, task, "--all", "--offline", "--json", "--project-dir", project]
        _, elapsed, own, _ = watched(command, stdout=out, cwd=project)
        out.seek(0)
        document = json.load(out)
    found = len(document["data"]["files"])
    if found != count:
        raise SystemExit(f"{task} looked at {found} files of {count}: {document['summary']}")
    return elapsed, own


def scale(scratch):
    """How tasks grow with the site: 10, 100, 1,000 and 10,000 virtual machines, the machines of up to 200 clusters."""
    print("\n| task | VMs | clusters | time | memory | with its programs | program calls | bound |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for vms, nodes, storages, clusters in SIZES:
        size = {"vms": vms, "nodes": nodes, "storages": storages, "clusters": clusters, "tool_start_ms": TOOL_START_MS}
        with Lab(scratch, f"scale-{vms}", **size) as lab:
            lab.settle()
            journal = lab.dir / ".local/state/omni-scale/journal.jsonl"
            for task, bound in TASKS:
                costs = []
                for _ in range(5):
                    journal.unlink(missing_ok=True)
                    status, *cost = watched(**lab.task(task))
                    # 1: the task ran and found something to fix; 3: it has something to change.
                    if status not in (0, 1, 3):
                        raise SystemExit(f"`{task}` ended with {status}")
                    costs.append(cost)
                lines_read = journal.read_text().splitlines() if journal.exists() else []
                programs = Counter(os.path.basename(json.loads(line)["line"].split(" ")[0]) for line in lines_read)
                calls = ", ".join(f"{number} {name}" for name, number in sorted(programs.items()))
                elapsed, own, every = zip(*costs)
                cells = [f"`{task}`", vms, clusters, seconds(statistics.median(elapsed)), f"{max(own):.0f} MB", f"{max(every):.0f} MB"]
                print("|", " | ".join(map(str, [*cells, calls, bound])), "|")


SECTIONS = [lines, clone, start, rehearse, verify, beside, checks, scale]


def main():
    wanted = sys.argv[1:] or [section.__name__ for section in SECTIONS]
    unknown = set(wanted) - {section.__name__ for section in SECTIONS}
    if unknown:
        raise SystemExit(f"there is no section {', '.join(sorted(unknown))}\n{__doc__}")
    for package in ["xtask", "lab"]:
        subprocess.run(["cargo", "build", "--quiet", "--package", package], cwd=ROOT, check=True)
    for section in SECTIONS:
        if section.__name__ in wanted:
            print(f"\n## {section.__name__}\n", flush=True)
            with tempfile.TemporaryDirectory(prefix="omni-scale-bench-") as scratch:
                section(pathlib.Path(scratch))


if __name__ == "__main__":
    main()
