#!/usr/bin/env bash
# The guides of docs/, held to what they say: every shell block is shell, every file they name is there, and the commands of
# gpg-key-setup.md make a key of the kind that they promise.
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

for guide in "$kit"/docs/*.md "$kit"/docker/*.md "$kit"/tsidp/*.md; do
  if [[ ! -f $guide ]]; then continue; fi
  blocks "$guide" >"$work/block"
  bash -n "$work/block" || {
    echo "$guide: a block is no shell" >&2
    exit 1
  }
  while read -r link; do
    if [[ ! -e $(dirname "$guide")/${link%%#*} ]]; then
      echo "$guide: the link $link leads nowhere" >&2
      exit 1
    fi
  done < <(grep -o ']([^)]*)' "$guide" | sed 's/^](//; s/)$//' | grep -v '^https:\|^#')
  while read -r script; do
    if [[ ! -x $kit/$script ]]; then
      echo "$guide: $script is no program" >&2
      exit 1
    fi
  done < <(grep -oE '(tsidp|docker)/[a-z/-]+\.sh' "$work/block" | sort -u)
done

if command -v gpg >/dev/null; then
  mkdir -p "$work/project/docker"
  cd "$work/project"
  {
    echo 'set -euo pipefail'
    blocks "$kit/docs/how-to/gpg-key-setup.md" 'Make it'
    blocks "$kit/docs/how-to/gpg-key-setup.md" 'Prove it' | grep -v '^docker \|^docker volume'
  } >"$work/gpg.sh"
  bash "$work/gpg.sh" >"$work/gpg.out" 2>"$work/gpg.err" || {
    cat "$work/gpg.err" >&2
    exit 1
  }
  grep -q '^sec#* .*\[C\]$' "$work/gpg.out"
  grep -q '^ssb#* .*\[E\]$' "$work/gpg.out"
  grep -qx proof "$work/gpg.out"
  [[ $(stat -c %a docker/omni.asc) == 600 ]]
  # What the trouble page tells to look for in a key with a passphrase.
  if gpg --list-packets docker/omni.asc 2>/dev/null | grep -q protect; then
    echo 'the key has a passphrase' >&2
    exit 1
  fi
fi
