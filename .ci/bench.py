#!/usr/bin/env python3
"""What the runner costs, measured; docs/benchmarks.md keeps the figures.

  .ci/bench.py [SECTION…]      lines clone start rehearse verify beside checks scale; all of them without an argument

Needs Python 3.9 and Linux's /proc; `omnictl` on PATH adds one row.
"""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
XTASK, LAB = ROOT / "target/debug/xtask", ROOT / "target/debug/lab"
CARGO = os.environ.get("CARGO", "cargo")
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


def run(words, codes=(0,), **options):
    ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if ran.returncode not in codes:
        sys.exit(f"{words}: exit {ran.returncode}\n{ran.stderr}")
    return ran.stdout


def timed(words, **options):
    begun = time.monotonic()
    run(words, **options)
    return time.monotonic() - begun


def shown(seconds):
    return f"{seconds:.1f} s" if seconds >= 2 else f"{seconds * 1e3:.1f} ms"


def header():
    print("| what | median | bound |\n| --- | --- | --- |")


def row(what, times, bound):
    print(f"| {what} | {shown(statistics.median(times))} | {bound} |", flush=True)


def memory(pid):
    """The most that a process had so far, and what it and its children have now, in KiB."""
    def field(pid, name):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(name):
                    return int(line.split()[1])
        return 0

    children = []
    for thread in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += thread.read_text().split()
    return field(pid, "VmHWM:"), field(pid, "VmRSS:") + sum(field(child, "VmRSS:") for child in children)


def cost(words, codes=(0, 1), **options):
    """Time, and the most memory of the process alone and with its children. Exit 1: the task found something."""
    begun, own, both = time.monotonic(), 0, 0
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.DEVNULL),
                             stderr=subprocess.DEVNULL, **options)
    while child.poll() is None:
        now = memory(child.pid)
        own, both = max(own, now[0]), max(both, now[1])
        time.sleep(0.003)
    if child.returncode not in codes:
        sys.exit(f"{words}: exit {child.returncode}")
    return time.monotonic() - begun, own, both


class BenchLab:
    """A running lab with a project."""

    def __init__(self, scratch, name, **options):
        self.dir, self.project = scratch / f"lab-{name}", scratch / f"lab-{name}/project"
        words = [LAB, "serve", "--dir", self.dir, "--until-stdin-closes"]
        words += [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = json.loads(self.child.stdout.readline())
        for folder in ["docker", "target"]:
            (self.project / folder).mkdir(parents=True)
        for file in ["docker/compose.yaml", "docker/config.yaml.example"]:
            shutil.copy(ROOT / file, self.project / file)
        # What a lab of some size has in it, an operator has files of.
        for folder in ["clusters", "machine-classes"]:
            if (self.dir / folder).is_dir():
                shutil.copytree(self.dir / folder, self.project / folder)
        values = dict.fromkeys(["OMNI_TLS_CERT", "OMNI_TLS_KEY"], "./config.yaml.example")
        values["OMNI_DOMAIN"] = ready["omni_domain"]
        lines = (ROOT / "docker/.env.example").read_text().splitlines()
        lines = [f"{name}={values[name]}" if (name := line.split("=")[0]) in values else line for line in lines]
        (self.project / "docker/omni.asc").touch()
        (self.project / "docker/.env").write_text("\n".join(lines) + "\n")
        self.env = dict(os.environ, HOME=str(self.dir))
        self.env.pop("XDG_STATE_HOME", None)
        for line in pathlib.Path(ready["env_file"]).read_text().splitlines():
            if line.startswith("export "):
                key, value = line[len("export "):].split("=", 1)
                self.env[key] = value.strip("'\"").replace("$PATH", os.environ["PATH"])

    def __enter__(self):
        run(self.task("provider-setup --yes"), env=self.env)
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()

    def task(self, words):
        return [XTASK, *words.split(), "--project-dir", self.project]

    def timed(self, words):
        return timed(words, env=self.env)

    def settle(self):
        """Waits until the provider has looked at every machine once: that is work of the lab, not of the task."""
        def busy():
            return int(pathlib.Path(f"/proc/{self.child.pid}/schedstat").read_text().split()[0])

        for _ in range(120):
            before = busy()
            time.sleep(0.5)
            if busy() - before < 50_000_000:
                return
        sys.exit("the lab does not come to rest")


def lines(_):
    """Lines of Rust in each crate, those of tests included, and packages in the lock file."""
    print("| crate | lines |\n| --- | --- |")
    total = 0
    for crate in ["xtask/src", "xtask/tests", "xtask/runtime", "xtask/check", "xtask/domain", "xtask/selector", "lab"]:
        count = sum(len(file.read_text().splitlines()) for file in (ROOT / crate).rglob("*.rs"))
        print(f"| `{crate}` | {count} |")
        total += count
    packages = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"| together | {total} |\n| packages in `Cargo.lock` | {packages} |")


def clone(scratch):
    """A fresh clone whose packages are in cargo's registry already, and an edit in it."""
    here = scratch / "clone"
    run(["git", "clone", "--quiet", ROOT, here])
    header()
    begun = time.monotonic()
    child = subprocess.Popen([CARGO, "xtask", "rehearse"], cwd=here, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    child.stderr.read(1)
    first = time.monotonic() - begun
    output = child.communicate()[1]
    if child.returncode:
        sys.exit(output.decode())
    row("`cargo xtask rehearse` in a fresh clone, its first output", [first], "2 s")
    row("… all of it, with every build", [time.monotonic() - begun], "60 s")
    for what, file, words, bound in [
        ("`cargo xtask --help` after an edit of a task", "xtask/src/task/doctor.rs", "xtask --help", "2 s"),
        ("`cargo test --package check` after an edit of a rule", "xtask/check/src/machine_class.rs",
         "test --quiet --package check", "8 s"),
    ]:
        run([CARGO, *words.split()], cwd=here)
        times = []
        for number in range(3):
            # A private function more, which the compiler cannot skip as it skips a comment.
            with open(here / file, "a") as source:
                source.write(f"\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}\n")
            times.append(timed([CARGO, *words.split()], cwd=here))
        row(what, times, bound)


def start(_):
    header()
    row("`cargo xtask --help`", [timed([CARGO, "xtask", "--help"], cwd=ROOT) for _ in range(40)], "100 ms")
    row("start of the runner itself (`xtask --help`)", [timed([XTASK, "--help"]) for _ in range(40)], "10 ms")


def rehearse(_):
    whole, inner = [], []
    for _ in range(5):
        begun = time.monotonic()
        inner.append(json.loads(run([CARGO, "xtask", "rehearse", "--json"], cwd=ROOT))["data"]["elapsed_ms"] / 1e3)
        whole.append(time.monotonic() - begun)
    header()
    row("`rehearse`, from the start of the lab to Running with six machines", inner, "3 s")
    row("`cargo xtask rehearse`, all of it", whole, "3 s")


def verify(scratch):
    with BenchLab(scratch, "slow", latency_ms=1000) as lab:
        header()
        times = [lab.timed(lab.task("provider-verify")) for _ in range(5)]
        row("`provider-verify` with every simulated service slowed by 1 s", times, "1.5 s")


def beside(scratch):
    """A task next to the programs that it calls."""
    with BenchLab(scratch, "quick") as lab:
        compose = [lab.dir / "bin/docker", "compose", "-p", "omni-scale", "--env-file", "/dev/null"]
        ps = [*compose, "ps", "--all", "--format", "json"]
        logs = [*compose, "logs", "--no-log-prefix", "--tail=20", "proxmox-provider"]
        get = [lab.dir / "bin/omnictl", "get", "clusters", "-o", "json"]
        header()
        for what, task, programs in [
            ("`xtask provider-status` beyond bare `docker compose ps` and `logs`", "provider-status", [ps, logs]),
            ("`xtask cluster-status` beyond bare `omnictl get`", "cluster-status", [get]),
        ]:
            pairs = [(lab.timed(lab.task(task)), sum(map(lab.timed, programs))) for _ in range(20)]
            row(what, [max(0, ours - bare) for ours, bare in pairs], "20 ms")


def checks(scratch):
    """A thousand and ten thousand machine classes and templates, and a selector over 500 storages of 64 nodes."""
    header()
    thousand = None
    for count, rounds, bound in [(1_000, 5, "0.5 s"), (10_000, 3, "5 s")]:
        here = project(scratch, count)
        both, peak = [], 0
        for _ in range(rounds):
            costs = [check(here, task, count) for task in ["machineclass-check", "cluster-check"]]
            both.append(sum(took[0] for took in costs))
            peak = max(peak, *(took[1] for took in costs))
        row(f"{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`", both, bound)
        print(f"| … the most memory of either | {peak // 1024} MiB | 300 MB |")
        if thousand:
            print(f"| … as many times as for a thousand of each | {statistics.median(both) / thousand:.1f} | 10 |")
            continue
        thousand = statistics.median(both)
        if not shutil.which("omnictl"):
            print("| … beside an `omnictl cluster template validate` for each file | no omnictl on PATH | 100 times |")
            continue
        validate = ["omnictl", "cluster", "template", "validate", "-f"]
        one = statistics.median(timed([*validate, here / f"clusters/matrix-{number}.yaml"]) for number in range(20))
        print(f"| … beside an `omnictl cluster template validate` for each file ({shown(one)} each) "
              f"| {one * count * 2 / thousand:.0f} times faster | 100 times |")
    selectors(project(scratch, 1))


def check(here, task, count):
    """Checks all files of a kind; every one must have been looked at."""
    with open(here / "out.json", "w") as out:
        took = cost([XTASK, task, "--all", "--offline", "--json", "--project-dir", here], cwd=here, stdout=out)
    document = json.loads((here / "out.json").read_text())
    if len(document["data"].get("files", [])) != count:
        sys.exit(f"{task} did not look at {count} files: {document['summary']}")
    return took


def project(scratch, count):
    """A project with so many classes and as many templates, each as an operator would have it."""
    here = scratch / f"checks-{count}"
    for folder in ["docker", "machine-classes", "clusters"]:
        (here / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/compose.yaml", here / "docker/compose.yaml")
    worker = (ROOT / "machine-classes/matrix-worker.yaml").read_text()
    patch = ("patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n"
             "          vm.max_map_count: \"262144\"\n---")
    template = (ROOT / "clusters/matrix.yaml").read_text().replace("---", patch, 1)
    for number in range(count):
        name = f"matrix-worker-{number}"
        (here / f"machine-classes/{name}.yaml").write_text(worker.replace("matrix-worker", name))
        text = template.replace("name: matrix\n", f"name: matrix-{number}\n")
        text = text.replace("matrix-controlplane", f"matrix-worker-{(number + 1) % count}")
        (here / f"clusters/matrix-{number}.yaml").write_text(text.replace("matrix-worker\n", f"{name}\n"))
    return here


def selectors(here):
    """`selector-test`, from the step that begins when the storages are read."""
    storages = [{"name": f"pool-{n}", "node": f"pve{node}", "storageType": "rbd", "availableSpace": 1 << 40}
                for node in range(64) for n in range(500)]
    (here / "storages.json").write_text(json.dumps(storages))
    for selector in [
        'storageType == "rbd" && name == "pool-7"',
        'name.matches("^pool-[0-9]$") && availableSpace > 100u',
        '["pool-1", "pool-2"].exists(p, p == name)',
    ]:
        times = []
        for _ in range(5):
            words = [XTASK, "selector-test", selector, "--offline", "--json", "--storages", "storages.json"]
            document = json.loads(run([*words, "--project-dir", here], codes=range(256), cwd=here))
            times += [step["elapsed_ms"] / 1e3 for step in document["steps"] if step["id"] == "evaluate"]
        escaped = selector.replace("|", "\\|")
        row(f"`selector-test` over 500 storages of 64 nodes: `{escaped}`", times, "100 ms")


def scale(scratch):
    """How tasks grow with the site: the machines of up to 200 clusters."""
    print("| task | VMs | clusters | time | memory | with its programs | program calls | bound |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for vms, nodes, storages, clusters in SIZES:
        size = {"vms": vms, "nodes": nodes, "storages": storages, "clusters": clusters}
        with BenchLab(scratch, f"scale-{vms}", **size, tool_start_ms=TOOL_START_MS) as lab:
            lab.settle()
            journal = lab.dir / ".local/state/omni-scale/journal.jsonl"
            for task, bound in TASKS:
                costs = []
                for _ in range(5):
                    journal.unlink(missing_ok=True)
                    costs.append(cost(lab.task(task), env=lab.env))
                calls = {}
                for line in journal.read_text().splitlines():
                    program = os.path.basename(json.loads(line)["line"].split(" ")[0])
                    calls[program] = calls.get(program, 0) + 1
                own, both = (max(took[at] for took in costs) / 1024 for at in (1, 2))
                print(f"| `{task}` | {vms} | {clusters} | {shown(statistics.median(took[0] for took in costs))} "
                      f"| {own:.0f} MB | {both:.0f} MB | "
                      f"{', '.join(f'{calls[name]} {name}' for name in sorted(calls))} | {bound} |", flush=True)


SECTIONS = {section.__name__: section for section in [lines, clone, start, rehearse, verify, beside, checks, scale]}


def main():
    wanted = sys.argv[1:] or list(SECTIONS)
    for name in wanted:
        if name not in SECTIONS:
            sys.exit(f"there is no section `{name}`: {', '.join(SECTIONS)}")
    run([CARGO, "build", "--quiet", "--package", "xtask", "--package", "lab"], cwd=ROOT)
    with tempfile.TemporaryDirectory(prefix="omni-scale-bench-") as scratch:
        for name in wanted:
            print(f"\n## {name}\n")
            SECTIONS[name](pathlib.Path(scratch))


main()
