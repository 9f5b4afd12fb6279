#!/usr/bin/env bash
# Runs the stack on a real Docker engine with the real docker compose, and the scripts of tsidp/ in a throwaway root.
#
#   .ci/docker.sh             install what is missing, then docker/tests/run.sh and tsidp/tests/run.sh
#
# From Debian come the engine (docker.io), busybox-static, debootstrap, etcd and a few programs; the engine that apt would start
# is left alone, the tests start their own. Docker compose is built by Go, since Debian's docker.io has none: into
# target/ci/docker-compose, minutes the first time and nothing afterwards. Only these steps need the network.
#
# It names and skips what cannot run here; the exit status is 1 if a test failed.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/ci
mkdir -p "$tools/bin"
export PATH="$tools/bin:$PATH:$HOME/.cargo/bin:/usr/local/go/bin:/usr/sbin:/sbin"
failed=()

# missing PROGRAM:PACKAGE…: the packages whose program is not there.
missing() {
  local pair
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || printf '%s\n' "${pair#*:}"
  done
}

# A busybox that is linked with libraries does not run in an image without them.
static_busybox() {
  command -v busybox >/dev/null 2>&1 && ! ldd "$(command -v busybox)" >/dev/null 2>&1
}

install_packages() {
  local packages
  packages=$(missing dockerd:docker.io docker:docker.io containerd:docker.io runc:docker.io iptables:iptables \
    ip:iproute2 unshare:util-linux setpriv:util-linux ps:procps curl:curl gpg:gpg systemd-analyze:systemd \
    debootstrap:debootstrap socat:socat openssl:openssl etcd:etcd-server etcdctl:etcd-client)
  static_busybox || packages="$packages busybox-static"
  # One name a word, each once.
  packages=$(tr -s '[:space:]' '\n' <<<"$packages" | sort -u | tr '\n' ' ')
  if [[ -z ${packages// /} ]]; then return 0; fi
  if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null 2>&1; then
    printf 'not installed, and not to be installed from here:%s\n' " $packages"
    return 0
  fi
  printf 'installing:%s\n' " $packages"
  # A service that is installed is not started: the tests have an engine of their own.
  local policy=/usr/sbin/policy-rc.d put=no
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
    put=yes
  fi
  local status=0
  # shellcheck disable=SC2086 # a list of names
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages; } \
    >"$tools/docker-apt.log" 2>&1 || status=$?
  if [[ $put == yes ]]; then rm -f "$policy"; fi
  if ((status != 0)); then
    tail -n 5 "$tools/docker-apt.log" >&2
    printf 'could not install:%s\n' " $packages"
  fi
}

# run NAME COMMAND…: the tests themselves say what they skip.
run() {
  local name=$1 begun=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    printf '== %s: ok (%s s)\n' "$name" "$((SECONDS - begun))"
  else
    printf '== %s: FAILED (%s s)\n' "$name" "$((SECONDS - begun))"
    failed+=("$name")
  fi
}

install_packages
if [[ -z ${DOCKER_COMPOSE:-} ]] && command -v go >/dev/null 2>&1; then
  if docker/tests/build-compose.sh "$tools/docker-compose"; then
    export DOCKER_COMPOSE=$tools/docker-compose/docker-compose
  else
    printf 'docker compose could not be built\n'
  fi
fi
# The tasks are run on that engine too.
if ! cargo build --quiet --package xtask --package lab; then failed+=('cargo build'); fi
# The tests have their own engine, whatever this shell points at.
unset DOCKER_HOST DOCKER_CONTEXT
run 'docker/tests' docker/tests/run.sh
run 'tsidp/tests' tsidp/tests/run.sh --debootstrap

if ((${#failed[@]} > 0)); then
  printf '\nerror: failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
