#!/usr/bin/env python3
"""What the runner costs, measured: prints the tables that docs/benchmarks.md keeps. Nothing here is a test.

    .ci/bench.py                        # all sections
    .ci/bench.py lines clone start      # some of them

The sections with a lab use that of this checkout: end yours with `cargo xtask lab-down` first. For figures that compare, leave the
machine alone.
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
XTASK = ROOT / "target/debug/xtask"
CARGO = os.environ.get("CARGO", "cargo")
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="omni-scale-bench-"))
JOURNAL = SCRATCH / ".local/state/omni-scale/journal.jsonl"

# What one start of omnictl 1.9.3 costs, in milliseconds of a processor.
TOOL_START = ["--tool-start-ms", "40"]
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
SELECTORS = [
    'storageType == "rbd" && name == "pool-7"',
    'name.matches("^pool-[0-9]$") && availableSpace > 100u',
    '["pool-1", "pool-2"].exists(p, p == name)',
]


def run(*words, cwd=ROOT, env=None, fine=(0,)):
    """Runs a command, which must end with one of these codes: seconds and its output."""
    begun = time.monotonic()
    ended = subprocess.run([str(word) for word in words], cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    seconds = time.monotonic() - begun
    if ended.returncode not in fine:
        raise SystemExit(f"error: {words} ended with {ended.returncode}:\n{ended.stderr.decode()}")
    return seconds, ended.stdout


def shown(seconds):
    return f"{seconds:.1f} s" if seconds >= 2 else f"{seconds * 1e3:.1f} ms"


def table(*rows):
    """Prints what was measured: a name, its bound, and the times, or a function and how often to call it."""
    print("| what | median | bound |\n| --- | --- | --- |")
    for name, bound, *times in rows:
        if callable(times[0]):
            times = [times[0]() for _ in range(times[1])]
        print(f"| {name} | {shown(statistics.median(times))} | {bound} |", flush=True)


class Lab:
    """A lab with a project, as `lab-up` makes one, and the provider in it."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        up = json.loads(run(CARGO, "xtask", "lab-up", "--yes", "--json", *self.options)[1])["data"]
        self.pid, self.project = up["pid"], up["project_dir"]
        lines = run("sh", "-c", '. "$0" && env -0', up["env_file"])[1].decode().split("\0")
        self.env = dict(line.split("=", 1) for line in lines if "=" in line) | {"HOME": str(SCRATCH)}
        self.env.pop("XDG_STATE_HOME", None)
        JOURNAL.unlink(missing_ok=True)
        self.task("provider-setup --yes")
        return self

    def __exit__(self, *_):
        run(CARGO, "xtask", "lab-down", "--yes")

    def task_words(self, task):
        return [XTASK, *task.split(), "--project-dir", self.project]

    def task(self, task):
        return run(*self.task_words(task), env=self.env)[0]

    def tool(self, name, *words):
        return run(shutil.which(name, path=self.env["PATH"]), *words, env=self.env)[0]


def lines():
    """Lines of Rust in each crate, those of tests included, and packages in the lock file."""
    print("| crate | lines |\n| --- | --- |")
    together = 0
    for crate in ["xtask/src", "xtask/tests", "xtask/runtime", "xtask/check", "xtask/domain", "xtask/selector", "lab"]:
        count = sum(len(file.read_text().splitlines()) for file in (ROOT / crate).rglob("*.rs"))
        print(f"| `{crate}` | {count} |")
        together += count
    packages = (ROOT / "Cargo.lock").read_text().count("[[package]]")
    print(f"| together | {together} |\n| packages in `Cargo.lock` | {packages} |")


def clone():
    """What a fresh clone costs whose packages are in cargo's registry already, and an edit in it."""
    copy = SCRATCH / "clone"
    run("git", "clone", "--quiet", ROOT, copy)
    begun = time.monotonic()
    command = [CARGO, "xtask", "rehearse"]
    child = subprocess.Popen(command, cwd=copy, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    child.stderr.read(1)
    first = time.monotonic() - begun
    output = child.stderr.read()
    if child.wait() != 0:
        raise SystemExit(f"error: {command}:\n{output.decode()}")
    whole = time.monotonic() - begun

    def edited(file, *words):
        run(CARGO, *words, cwd=copy)
        times = []
        for number in range(3):
            # A private function more, which the compiler cannot skip as it skips a comment.
            with (copy / file).open("a") as source:
                source.write(f"\n#[allow(dead_code)]\nfn edited_{number}() -> usize {{\n    {number}\n}}\n")
            times.append(run(CARGO, *words, cwd=copy)[0])
        return times

    table(
        ("`cargo xtask rehearse` in a fresh clone, its first output", "2 s", first),
        ("… all of it, with every build", "60 s", whole),
        ("`cargo xtask --help` after an edit of a task", "2 s", *edited("xtask/src/task/doctor.rs", "xtask", "--help")),
        (
            "`cargo test --package check` after an edit of a rule",
            "8 s",
            *edited("xtask/check/src/machine_class.rs", "test", "--quiet", "--package", "check"),
        ),
    )
    shutil.rmtree(copy)


def start():
    table(
        ("`cargo xtask --help`", "100 ms", lambda: run(CARGO, "xtask", "--help")[0], 40),
        ("start of the runner itself (`xtask --help`)", "10 ms", lambda: run(XTASK, "--help")[0], 40),
    )


def rehearse():
    def inner():
        return json.loads(run(CARGO, "xtask", "rehearse", "--json")[1])["data"]["elapsed_ms"] / 1e3

    table(
        ("`rehearse`, from the start of the lab to Running with six machines", "3 s", inner, 5),
        ("`cargo xtask rehearse`, all of it", "3 s", lambda: run(CARGO, "xtask", "rehearse")[0], 5),
    )


def verify():
    with Lab("--latency-ms", "1000") as lab:
        name = "`provider-verify` with every simulated service slowed by 1 s"
        table((name, "1.5 s", lambda: lab.task("provider-verify"), 5))


def beside():
    """A task next to the programs that it calls."""
    with Lab() as lab:

        def compose(*words):
            return lab.tool("docker", "compose", "-p", "omni-scale", "--env-file", "/dev/null", *words)

        def status():
            logs = compose("logs", "--no-log-prefix", "--tail=20", "proxmox-provider")
            return lab.task("provider-status") - compose("ps", "--all", "--format", "json") - logs

        def clusters():
            return lab.task("cluster-status") - lab.tool("omnictl", "get", "clusters", "-o", "json")

        table(
            ("`xtask provider-status` beyond bare `docker compose ps` and `logs`", "20 ms", status, 20),
            ("`xtask cluster-status` beyond bare `omnictl get`", "20 ms", clusters, 20),
        )


def project(count):
    """A project with so many classes and as many templates, each as an operator would have it."""
    made = SCRATCH / f"checks-{count}"
    for folder in ["docker", "machine-classes", "clusters"]:
        (made / folder).mkdir(parents=True)
    shutil.copy(ROOT / "docker/compose.yaml", made / "docker/compose.yaml")
    machine_class = (ROOT / "machine-classes/matrix-worker.yaml").read_text()
    patch = 'patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n          vm.max_map_count: "262144"\n---'
    template = (ROOT / "clusters/matrix.yaml").read_text().replace("---", patch, 1)
    for number in range(count):
        name = f"matrix-worker-{number}"
        (made / f"machine-classes/{name}.yaml").write_text(machine_class.replace("matrix-worker", name))
        text = template.replace("name: matrix\n", f"name: matrix-{number}\n")
        text = text.replace("matrix-controlplane", f"matrix-worker-{(number + 1) % count}").replace("matrix-worker\n", f"{name}\n")
        (made / f"clusters/matrix-{number}.yaml").write_text(text)
    return made


def watched(*words, cwd=ROOT, env=None):
    """Runs a command and looks at its memory meanwhile: seconds, MiB of its own and with its programs, output and exit code."""

    def field(pid, name):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(rf"^{name}:\s+(\d+)", status, re.M)
        return int(found[1]) / 1024 if found else 0

    def children(pid):
        try:
            return " ".join(file.read_text() for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children")).split()
        except OSError:
            return []

    own = together = 0
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        command = [str(word) for word in words]
        child = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            own = max(own, field(child.pid, "VmHWM"))
            together = max(together, field(child.pid, "VmRSS") + sum(field(pid, "VmRSS") for pid in children(child.pid)))
            time.sleep(0.003)
        seconds = time.monotonic() - begun
        output.seek(0)
        return seconds, own, together, output.read(), child.returncode


def checks():
    """A thousand and ten thousand machine classes and cluster templates, and a selector over 500 storages of 64 nodes."""
    before = None
    for count, rounds, bound in [(1_000, 5, "0.5 s"), (10_000, 3, "5 s")]:
        made, times, peak = project(count), [], 0
        for _ in range(rounds):
            both = 0
            for task in ["machineclass-check", "cluster-check"]:
                words = [XTASK, task, "--all", "--offline", "--json", "--project-dir", made]
                seconds, own, _, output, _ = watched(*words, cwd=made)
                found = len(json.loads(output)["data"]["files"])
                if found != count:
                    raise SystemExit(f"error: {task} looked at {found} files of {count}")
                both, peak = both + seconds, max(peak, own)
            times.append(both)
        table((f"{count} machine classes, then {count} templates: `machineclass-check`, `cluster-check`", bound, *times))
        print(f"| … the most memory of either | {peak:.0f} MiB | 300 MB |")
        now = statistics.median(times)
        if before:
            print(f"| … as many times as for a thousand of each | {now / before:.1f} | 10 |")
        elif shutil.which("omnictl"):
            files = [made / f"clusters/matrix-{number}.yaml" for number in range(20)]
            one = statistics.median(run("omnictl", "cluster", "template", "validate", "-f", file)[0] for file in files)
            name = f"… beside an `omnictl cluster template validate` for each file ({shown(one)} each)"
            print(f"| {name} | {one * count * 2 / now:.0f} times faster | 100 times |")
        before = now
        shutil.rmtree(made)
    made = project(1)
    storages = [
        {"name": f"pool-{pool}", "node": f"pve{node}", "storageType": "rbd", "availableSpace": 1 << 40}
        for node in range(64)
        for pool in range(500)
    ]
    (made / "storages.json").write_text(json.dumps(storages))

    def evaluated(selector):
        words = [XTASK, "selector-test", selector, "--offline", "--json", "--storages", "storages.json", "--project-dir", made]
        steps = json.loads(run(*words, cwd=made)[1])["steps"]
        return next(step["elapsed_ms"] for step in steps if step["id"] == "evaluate") / 1e3

    def figure(selector):
        name = selector.replace("|", "\\|")
        return f"`selector-test` over 500 storages of 64 nodes: `{name}`", "100 ms", lambda: evaluated(selector), 5

    table(*map(figure, SELECTORS))


def settle(lab):
    """Waits until the provider has looked at every machine once: that is work of the lab, not of the task."""
    for _ in range(120):
        before = busy(lab.pid)
        time.sleep(0.5)
        if busy(lab.pid) - before < 0.05:
            return
    raise SystemExit("error: the lab does not come to rest")


def busy(pid):
    """Seconds for which a processor worked for a process."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def scale():
    """How tasks grow with the site: 10 to 10,000 virtual machines, which are the machines of up to 200 clusters."""
    print("| task | VMs | clusters | time | memory | with its programs | program calls | bound |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for vms, nodes, storages, clusters in SIZES:
        size = ["--vms", vms, "--nodes", nodes, "--storages", storages, "--clusters", clusters]
        with Lab(*size, *TOOL_START) as lab:
            settle(lab)
            for task, bound in TASKS:
                times, own, together = [], 0, 0
                for _ in range(5):
                    JOURNAL.unlink(missing_ok=True)
                    seconds, of_itself, of_all, _, code = watched(*lab.task_words(task), env=lab.env)
                    # 1: the task ran and found something to fix; 3: it has something to change.
                    if code not in (0, 1, 3):
                        raise SystemExit(f"error: {task} ended with {code}")
                    times.append(seconds)
                    own, together = max(own, of_itself), max(together, of_all)
                called = [json.loads(line)["line"].split()[0].rsplit("/", 1)[-1] for line in JOURNAL.read_text().splitlines()]
                calls = ", ".join(f"{called.count(name)} {name}" for name in sorted(set(called)))
                row = [f"`{task}`", vms, clusters, shown(statistics.median(times)), f"{own:.0f} MB", f"{together:.0f} MB", calls, bound]
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


SECTIONS = [lines, clone, start, rehearse, verify, beside, checks, scale]


def main():
    names = [section.__name__ for section in SECTIONS]
    wanted = sys.argv[1:] or names
    try:
        for word in wanted:
            if word not in names:
                raise SystemExit(f"error: there is no section {word}: {', '.join(names)}")
        run(CARGO, "build", "--quiet", "--package", "xtask", "--package", "lab")
        for section in SECTIONS:
            if section.__name__ in wanted:
                print(f"\n## {section.__name__}\n", flush=True)
                section()
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


main()
