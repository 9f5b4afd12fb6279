#!/bin/sh
# No dependency has a known weakness. cargo-deny fetches the database of advisories from github.com: where that cannot be reached, the
# script ends with 5, and the check is skipped.
set -u

cd -- "$(dirname -- "$0")/.." || exit 1
export PATH="$PWD/target/ci/bin:$PATH"
command -v cargo-deny >/dev/null || {
  echo 'error: cargo-deny is not installed: mise install cargo-deny, or cargo install --locked cargo-deny' >&2
  exit 4
}
said=$(cargo-deny --color never check advisories 2>&1) && exit 0
printf '%s\n' "$said"
case $said in
  *'failed to fetch advisory database'*)
    echo 'error: the advisory database could not be fetched from github.com/RustSec/advisory-db: run this where that can be reached' >&2
    exit 5
    ;;
esac
exit 1
