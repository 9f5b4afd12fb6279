#!/usr/bin/env bash
# Builds a release for one target, packs it, and tries what is in the archive.
#
#   .ci/release.sh TARGET NAME [OUT]     OUT/NAME.tar.gz; OUT is target/dist by default
#
# The programs of a Linux release are static: TARGET is one of musl (`rustup target add`, and a C compiler for it: musl-tools).
# Programs for another kind of machine than this one are packed and not tried.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
target=${1:?which target?} name=${2:?which name?} out=${3:-target/dist}
programs=${CARGO_TARGET_DIR:-target}/$target/release
most=$((12 * 1024 * 1024))

cargo build --release --locked --target "$target" --package xtask --package lab --bin xtask --bin lab

size=$(wc -c <"$programs/xtask")
[ "$size" -le "$most" ] || {
  printf 'error: the program has %s bytes, more than %s\n' "$size" "$most" >&2
  exit 1
}

kit=$out/$name
rm -rf "$kit"
mkdir -p "$kit/completions"
cp "$programs/xtask" "$kit/omni-scale"
cp "$programs/lab" "$kit/omni-scale-lab"
cp xtask/data/completions/omni-scale.* "$kit/completions/"
# roff writes the hyphen of a name as `\-`.
sed 's/cargo xtask/omni-scale/g; s/^xtask \\-/omni\\-scale \\-/; s/^\.TH xtask/.TH omni-scale/' docs/reference/xtask.1 >"$kit/omni-scale.1"
cp LICENSE README.md CHANGELOG.md SECURITY.md "$kit/"
git ls-files -z docker tsidp machine-classes clusters schemas docs ':!*/tests/*' | xargs -0 tar -cf - | tar -C "$kit" -xf -
tar -C "$out" -czf "$out/$name.tar.gz" "$name"
rm -r "$kit"
printf 'packed: %s (program: %s bytes)\n' "$out/$name.tar.gz" "$size"

host=$(rustc -vV | sed -n 's/^host: //p')
[ "${target%%-*}" = "${host%%-*}" ] || {
  printf 'SKIP trying it: this machine is %s\n' "$host"
  exit 0
}

# In a place with nothing of this repository: no sources, no cargo.
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
tar -C "$place" -xzf "$out/$name.tar.gz"
run() { env -i PATH=/usr/bin:/bin HOME="$place" "$place/$name/omni-scale" "$@"; }
tried() {
  printf '\n== omni-scale %s\n' "$*"
  run "$@"
}
tried --version
tried init "$place/site"
tried machineclass-check --offline --project-dir "$place/site" dev-small
tried cluster-check --offline --project-dir "$place/site" matrix
tried rehearse --quiet --project-dir "$place/site"
if run doctor --project-dir "$place/site" 2>&1 | grep -n 'cargo xtask'; then
  printf 'error: advice names another program than the one that was called\n' >&2
  exit 1
fi
printf '\n6 passed, 0 failed\n'
