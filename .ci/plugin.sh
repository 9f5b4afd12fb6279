#!/usr/bin/env bash
# Checks the Claude Code plugin with the programs that others check it with: the official validator in an old and
# in a new version, the reference validator of Agent Skills, and markdownlint. What these do not look at is tested in
# xtask/tests/it/plugin.rs.
#
#   .ci/plugin.sh             install what is missing into target/ci/plugin, then check
#
# Only the installation needs the network. The checks run without one, with a home directory of their own, so that
# neither an account nor the settings of whoever runs this can change the result.
set -euo pipefail

# 2.1.197 is the last version for Node 18 and refuses what later ones forgive; 2.1.330 reads more of the plugin.
claude_versions=(2.1.197 2.1.330)
skills_ref_version=0.1.1
markdownlint_version=0.22.1

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
root=$PWD
tools=$root/target/ci/plugin
mkdir -p "$tools"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/omni-scale-plugin.XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT
failed=()

need() {
  command -v "$1" >/dev/null 2>&1 || {
    printf 'error: %s is not installed; the plugin checks need it (%s)\n' "$1" "$2" >&2
    exit 4
  }
}

# npm_install DIR PACKAGE VERSION: does nothing when that very version is there.
npm_install() {
  local dir=$1 package=$2 version=$3
  local manifest=$dir/node_modules/$package/package.json
  if [ -f "$manifest" ] && grep -qF "\"version\": \"$version\"" "$manifest"; then
    return
  fi
  printf 'installing %s@%s\n' "$package" "$version"
  mkdir -p "$dir"
  # A manifest of its own, or npm climbs to the next one above. No install scripts: none is needed.
  printf '{"private":true}\n' >"$dir/package.json"
  npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --save-exact "$package@$version" \
    >"$dir/npm.log" 2>&1 || {
    printf 'error: npm could not install %s@%s:\n' "$package" "$version" >&2
    tail -n 20 "$dir/npm.log" >&2
    exit 5
  }
}

skills_ref_install() {
  local venv=$tools/skills-ref
  if [ -x "$venv/bin/agentskills" ] && [ "$(cat "$venv/version" 2>/dev/null)" = "$skills_ref_version" ]; then
    return
  fi
  printf 'installing skills-ref==%s\n' "$skills_ref_version"
  rm -rf -- "$venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "skills-ref==$skills_ref_version"; } \
    >"$tools/pip.log" 2>&1; then
    printf 'error: pip could not install skills-ref==%s:\n' "$skills_ref_version" >&2
    tail -n 20 "$tools/pip.log" >&2
    exit 5
  fi
  printf '%s' "$skills_ref_version" >"$venv/version"
}

# Runs without a network where the kernel lets an ordinary user take it away; that is a proof, not a need.
offline() {
  if unshare -rn true 2>/dev/null; then
    unshare -rn "$@"
  else
    "$@"
  fi
}

# check NAME PATTERN COMMAND…: the command must succeed and, with a pattern, say so.
check() {
  local name=$1 pattern=$2
  shift 2
  local log=$scratch/log status=0
  offline "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -eq 0 ] && { [ -z "$pattern" ] || grep -qE "$pattern" "$log"; }; then
    printf 'ok      %s\n' "$name"
    return
  fi
  printf 'FAILED  %s (exit status %s)\n' "$name" "$status"
  sed 's/^/        /' "$log"
  [ -z "$pattern" ] || printf '        expected a line with: %s\n' "$pattern"
  failed+=("$name")
}

# Claude Code with nothing of the user's: no account, no settings, no telemetry, no update.
claude() {
  local version=$1
  shift
  local home=$scratch/home-$version binary
  mkdir -p "$home"
  # The package for this platform; the npm package itself is only a launcher.
  binary=$(find "$tools/claude-$version/node_modules/@anthropic-ai" -path '*/claude-code-*/claude' -type f | head -n 1)
  if [ -z "$binary" ]; then
    printf 'error: claude-code %s has no binary for %s\n' "$version" "$(uname -sm)" >&2
    return 4
  fi
  command=(env -i "HOME=$home" "CLAUDE_CONFIG_DIR=$home/.claude" PATH=/usr/bin:/bin NO_COLOR=1 DISABLE_AUTOUPDATER=1
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 "$binary" "$@")
}

need npm "Node 18 or later"
need python3 "3.11 or later, with venv"
need git "the files of an installation are those that git knows"

for version in "${claude_versions[@]}"; do
  npm_install "$tools/claude-$version" @anthropic-ai/claude-code "$version"
done
npm_install "$tools/markdownlint" markdownlint-cli2 "$markdownlint_version"
skills_ref_install

# What a clone from GitHub would hold: an installation from the working tree would copy target/ and secrets as well.
clone=$scratch/clone
mkdir -p "$clone"
git ls-files -z | tar -cf - --null -T - | tar -xf - -C "$clone"

for version in "${claude_versions[@]}"; do
  claude "$version" plugin validate --strict "$root"
  check "claude $version: validate the repository" 'Validation passed' "${command[@]}"
  # With a marketplace beside it, 2.1.197 looks at the commands' front matter only when given the manifest itself.
  claude "$version" plugin validate --strict "$root/.claude-plugin/plugin.json"
  check "claude $version: validate the manifest" 'Validation passed' "${command[@]}"
  # Loading prints its errors and exits 0 all the same, so the text decides.
  claude "$version" --plugin-dir "$root" plugin list
  check "claude $version: load the plugin" 'Status: .*loaded' "${command[@]}"
  claude "$version" plugin marketplace add "$clone"
  check "claude $version: add the marketplace" 'Successfully added' "${command[@]}"
  claude "$version" plugin install omni-scale@omni-scale-marketplace
  check "claude $version: install the plugin" 'Successfully installed' "${command[@]}"
done

# A command, skill or agent in the wrong place is silently left out: compare with the files.
newest=${claude_versions[${#claude_versions[@]} - 1]}
claude "$newest" plugin validate --strict --json "$root"
offline "${command[@]}" >"$scratch/provides.json" || true
for file in commands/*.md agents/*.md skills/*/SKILL.md; do
  name=${file%/SKILL.md}
  name=$(basename "$name" .md)
  check "claude $newest: provides $name" '' grep -F "\"omni-scale:$name\"" "$scratch/provides.json"
done

for skill in skills/*/; do
  check "agentskills: ${skill%/}" '' "$tools/skills-ref/bin/agentskills" validate "${skill%/}"
done
check "markdownlint: every Markdown file" '' "$tools/markdownlint/node_modules/.bin/markdownlint-cli2"

if [ "${#failed[@]}" -gt 0 ]; then
  printf '\nerror: %s of the plugin checks failed:\n' "${#failed[@]}" >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
printf 'the plugin passes every check\n'
