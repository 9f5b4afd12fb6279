#!/usr/bin/env bash
# Opens the fleet page in a real browser, headless: three widths, light and dark, with and without JavaScript, a page of 10,000
# machines, and one with hostile names. axe-core checks contrast and names; every control must be reached with the keyboard; nothing
# may be requested or written to the console.
#
#   .ci/browser.sh
#
# Needs Chromium, node, and puppeteer-core and axe-core, which .ci/tools.sh installs. Screenshots stay in target/ci/browser.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
chromium=""
for program in chromium chromium-browser google-chrome; do
  [ -n "$chromium" ] || chromium=$(command -v "$program" || true)
done
[ -n "$chromium" ] || {
  printf 'error: no Chromium is installed; apt-get install chromium\n' >&2
  exit 4
}
for program in node target/ci/puppeteer/node_modules/puppeteer-core target/ci/axe/node_modules/axe-core; do
  command -v "$program" >/dev/null 2>&1 || [ -d "$program" ] || {
    printf 'error: %s is not installed; .ci/tools.sh installs it\n' "$program" >&2
    exit 4
  }
done
cargo build --quiet --package xtask --bin xtask
out=target/ci/browser
rm -rf "$out"
mkdir -p "$out/home"
node .ci/browser/inventories.mjs docs/recordings/fleet.json "$out"

# page NAME INVENTORY WORDS…: a page of that inventory, offline.
page() {
  local name=$1 inventory=$2
  shift 2
  env -i PATH=/usr/bin:/bin HOME="$PWD/$out/home" SOURCE_DATE_EPOCH=1795932000 \
    "$PWD/target/debug/xtask" fleet-page --project-dir . --quiet \
    --inventory "$inventory" --out "$out/$name.html" "$@" 2>"$out/$name.log" || {
    cat "$out/$name.log" >&2
    exit 1
  }
}
page small docs/recordings/fleet.json --svg "$out/small.svg"
page lost docs/recordings/fleet.json --without pve1
page hostile "$out/hostile.json"
page large "$out/large.json"
CHROMIUM=$chromium node .ci/browser/check.mjs "$out"
