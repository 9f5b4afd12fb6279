#!/usr/bin/env bash
# Checks the guides of docs/: every shell block is valid, every script they name can be run, and the commands of
# gpg-key-setup.md create the key that they describe.
#   guides.sh PROJECT_DIRECTORY
set -euo pipefail
kit=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

blocks() { # FILE [HEADING]
  awk -v heading="${2:+## $2}" '
    /^## / { on = (heading == "" || $0 == heading) }
    { if (heading == "") on = 1 }
    on && /^ *```$/ { code = 0 }
    on && code { print }
    on && /^ *```sh$/ { code = 1 }' "$1"
}

for guide in "$kit"/docs/*/*.md "$kit"/docker/*.md "$kit"/tsidp/*.md; do
  if [[ ! -f $guide ]]; then continue; fi
  blocks "$guide" >"$work/block"
  bash -n "$work/block" || {
    echo "$guide: a block is not valid shell" >&2
    exit 1
  }
  while read -r script; do
    if [[ ! -x $kit/$script ]]; then
      echo "$guide: $script is not executable" >&2
      exit 1
    fi
  done < <(grep -oE '(tsidp|docker)/[a-z/-]+\.sh' "$work/block" | sort -u)
done

if command -v gpg >/dev/null; then
  mkdir -p "$work/project/docker"
  cd "$work/project"
  {
    echo 'set -euo pipefail'
    blocks "$kit/docs/how-to/gpg-key-setup.md" 'Create it'
    blocks "$kit/docs/how-to/gpg-key-setup.md" 'Check it' | grep -v '^docker \|^docker volume'
  } >"$work/gpg.sh"
  bash "$work/gpg.sh" >"$work/gpg.out" 2>"$work/gpg.err" || {
    cat "$work/gpg.err" >&2
    exit 1
  }
  grep -q '^sec#* .*\[C\]$' "$work/gpg.out"
  grep -q '^ssb#* .*\[E\]$' "$work/gpg.out"
  grep -qx proof "$work/gpg.out"
  [[ $(stat -c %a docker/omni.asc) == 600 ]]
  # What the troubleshooting page says about a key with a passphrase.
  if gpg --list-packets docker/omni.asc 2>/dev/null | grep protect >/dev/null; then
    echo 'the key has a passphrase' >&2
    exit 1
  fi
fi
