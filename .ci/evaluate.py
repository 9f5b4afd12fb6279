#!/usr/bin/env python3
"""Asks an assistant the questions of .ci/evaluation/questions.toml and scores what it answers.

    .ci/evaluate.py --reference                     # the tasks of each question instead of an assistant: every fact must be there
    .ci/evaluate.py -- claude --print --plugin-dir . --permission-mode acceptEdits
    .ci/evaluate.py --only vm-deleted -- COMMAND    # one question

The assistant's command runs in a lab's project with the question on standard input, and its standard output is the answer. An answer
counts when it names every fact of `answer` and nothing of `never`; with --fixed the cluster must also run after the `fix` of the question
(the assistant's own work, or with --reference the tasks). Exit status 1 when a question has failed.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CREATE = [
    "provider-setup --yes",
    """machineclass-create small --cores 2 --memory 4096 --disk 20 --selector 'name == "local-lvm"' --apply --yes""",
    "cluster-create demo --control-planes 1 --workers 1 --yes --timeout 20s",
]
STEPS = {"none": 0, "class": 2, "cluster": 3}


def xtask(words, env, project=ROOT):
    done = subprocess.run(
        [ROOT / "target/debug/xtask", *words], cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


class Lab:
    """A lab with the fault and the site of a question."""

    def __init__(self, question):
        fault = question.get("fault")
        _, text = xtask(["lab-up", "--yes", "--json", *(["--fault", fault] if fault else [])], os.environ)
        started = json.loads(text[text.index("{"):text.rindex("}") + 1])
        if not started["ok"]:
            raise RuntimeError(started["summary"])
        self.project = pathlib.Path(started["data"]["project_dir"])
        environment = subprocess.run(
            ["bash", "-c", f". {shlex.quote(started['data']['env_file'])} && env -0"], capture_output=True, check=True
        ).stdout.decode()
        self.env = dict(line.split("=", 1) for line in environment.split("\0") if "=" in line)
        for path, text in question.get("files", {}).items():
            file = self.project / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.lstrip("\n"))
        for line in CREATE[: STEPS[question.get("site", "cluster")]] + question.get("before", []):
            self.run(line)

    def run(self, line):
        if line == "~":  # until the fault has come: what Omni says of the cluster must differ from what is
            for _ in range(20):
                if self.run("cluster-explain demo")[0] != 0:
                    break
            return 0, ""
        if line.startswith("edit "):
            path, change = line.removeprefix("edit ").split(" ", 1)
            old, new = change.split(" => ")
            text = (self.project / path).read_text()
            assert old in text, f"{path} has no `{old}`"
            (self.project / path).write_text(text.replace(old, new))
            return 0, ""
        return xtask(shlex.split(line), self.env, self.project)

    def ask(self, command, question):
        with tempfile.TemporaryFile("w+") as asked:
            asked.write(question)
            asked.seek(0)
            done = subprocess.run(command, cwd=self.project, env=self.env, stdin=asked, capture_output=True, text=True, timeout=1200)
        return done.stdout


def faults(question, answer):
    """What is wrong with an answer."""
    found = [f"does not say /{fact}/" for fact in question["answer"] if not re.search(fact, answer, re.I | re.S)]
    return found + [f"says /{word}/" for word in question.get("never", []) if re.search(word, answer, re.I | re.S)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--reference", action="store_true", help="run the tasks of each question instead of an assistant")
    arguments.add_argument("--fixed", action="store_true", help="the cluster must run afterwards, where the question has a fix")
    arguments.add_argument("--only", action="append", default=[], metavar="ID")
    arguments.add_argument("--answers", type=pathlib.Path, metavar="DIR", help="keep each answer in this directory")
    arguments.add_argument("command", nargs="*", help="the assistant, after `--`")
    given = arguments.parse_args()
    if given.reference == bool(given.command):
        arguments.error("give either --reference or the command of an assistant")
    questions = tomllib.loads((ROOT / ".ci/evaluation/questions.toml").read_text())["question"]
    unknown = set(given.only) - {question["id"] for question in questions}
    if unknown:
        arguments.error(f"no such question: {', '.join(sorted(unknown))}")
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "xtask", "--package", "lab"], cwd=ROOT, check=True)
    failed = []
    asked = [question for question in questions if not given.only or question["id"] in given.only]
    for question in asked:
        try:
            lab = Lab(question)
            if given.reference:
                answer = "".join(lab.run(line)[1] for line in question["route"] + question.get("fix", []))
            else:
                answer = lab.ask(given.command, question["ask"])
            wrong = faults(question, answer)
            if given.fixed and "fix" in question and lab.run("cluster-status demo --wait running --timeout 60s")[0] != 0:
                wrong.append("the cluster does not run")
        finally:
            xtask(["lab-down", "--yes"], os.environ)
        if given.answers:
            given.answers.mkdir(parents=True, exist_ok=True)
            (given.answers / f"{question['id']}.txt").write_text(answer)
        print(f"{question['id']}: {'; '.join(wrong) or 'right'}", flush=True)
        failed += [question["id"]] if wrong else []
    print(f"{len(asked) - len(failed)} of {len(asked)} questions answered" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
