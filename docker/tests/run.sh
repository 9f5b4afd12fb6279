#!/usr/bin/env bash
# Runs the shipped compose.yaml with the real docker compose on a real Docker engine, as root. Real: engine, compose, compose
# file, namespaces, volumes, ports. Not real, by name:
#   the three images   small ones from busybox-static and stand-ins/, tagged with the pinned names: nothing is pulled
#   the tailnet, Omni, Proxmox
# The engine is one of its own, with its own socket and data, in network, mount and process namespaces of its own, so that
# neither a Docker of this host nor its firewall is touched. What is missing is said and skipped.
#
#   DOCKER_COMPOSE=FILE   a compose plugin to use; else the installed one; else it is built, where there is Go
#   XTASK=FILE            the runner, whose tasks are run on that engine too; else target/debug/xtask, where it is built
#   ONLY='backup site'    these tests alone: stack, fresh, site, backup, upgrade, etcd, adopt; etcd is after backup
#   LAB=FILE              the lab, whose Proxmox and Omni give provider-setup what it asks for; else target/debug/lab
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
kit=$(dirname "$(dirname "$here")")
passed=0 failed=0 skipped=0
work=$(mktemp -d)

skip() {
  skipped=$((skipped + 1))
  echo "SKIP $1"
}
finish() {
  echo
  echo "docker: $passed passed, $failed failed, $skipped skipped"
  rm -rf "$work" || true
  if ((failed > 0)); then exit 1; fi
  exit 0
}

check() { # NAME COMMAND…; skipped where the program is missing
  local name=$1
  shift
  if ! command -v "$1" >/dev/null; then
    skip "$name: $1 is not installed"
  elif "$@"; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
  fi
}

check shellcheck shellcheck -x "$here"/*.sh "$here"/../*.sh "$here"/stand-ins/*
check shfmt shfmt -d -i 2 -ci "$here"/*.sh "$here"/../*.sh "$here"/stand-ins/*
check 'the guides' bash "$here/guides.sh" "$kit"
check 'the renewal of the certificate' bash "$here/certificate.sh" "$kit"
sed 's|@PROJECT_DIR@|/|' "$here/../omni-scale.service" >"$work/omni-scale.service"
check 'the unit: systemd-analyze verify' systemd-analyze verify "$work/omni-scale.service"
sed 's|@PROJECT_DIR@|/|; s|@USER@|root|' "$here/../omni-backup.service" >"$work/omni-backup.service"
cp "$here/../omni-backup.timer" "$work/"
check 'the backup: systemd-analyze verify' systemd-analyze verify "$work/omni-backup.service" "$work/omni-backup.timer"
sed 's|@PROJECT_DIR@|/|; s|^ExecStart=.*|ExecStart=/bin/true|' "$here/../omni-certificate.service" >"$work/omni-certificate.service"
cp "$here/../omni-certificate.timer" "$work/"
check 'the renewal: systemd-analyze verify' systemd-analyze verify "$work/omni-certificate.service" "$work/omni-certificate.timer"
if ((EUID != 0)); then
  skip 'compose on an engine: not root'
  finish
fi
for program in dockerd docker containerd runc busybox unshare ip curl; do
  if ! command -v "$program" >/dev/null; then
    skip "compose on an engine: $program is not installed (Debian: docker.io busybox-static iproute2 curl)"
    finish
  fi
done
if ! busybox --list | grep -x tunctl >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
  skip 'compose on an engine: this busybox is not the static one (Debian: busybox-static)'
  finish
fi

mkdir -p "$work/docker-config/cli-plugins"
plugin=$work/docker-config/cli-plugins/docker-compose
if [[ -n ${DOCKER_COMPOSE:-} ]]; then
  cp "$DOCKER_COMPOSE" "$plugin"
elif DOCKER_CONFIG=$work/none docker compose version >/dev/null 2>&1; then
  rm -r "$work/docker-config/cli-plugins"
elif command -v go >/dev/null; then
  echo '# building docker compose'
  cache=${CARGO_TARGET_DIR:-$kit/target}/docker-compose
  if "$here/build-compose.sh" "$cache"; then
    cp "$cache/docker-compose" "$plugin"
  else
    skip 'compose on an engine: docker compose could not be built'
    finish
  fi
else
  skip 'compose on an engine: no compose plugin, and no Go to build it'
  finish
fi

if ! unshare --mount --net --pid --fork --mount-proc bash -c 'mount -t tmpfs tmpfs /mnt && ip link set lo up' 2>/dev/null; then
  skip 'compose on an engine: no namespaces may be made here'
  finish
fi
export DOCKER_CONFIG=$work/docker-config
export XTASK=${XTASK:-${CARGO_TARGET_DIR:-$kit/target}/debug/xtask}
export LAB=${LAB:-${CARGO_TARGET_DIR:-$kit/target}/debug/lab}
unshare --mount --net --pid --fork --mount-proc --kill-child bash "$here/inside.sh" "$work" || true
if [[ -f $work/skipped ]]; then skipped=$((skipped + $(wc -l <"$work/skipped"))); fi
if [[ -f $work/skip ]]; then
  skip "compose on an engine: $(<"$work/skip")"
elif [[ -f $work/result ]]; then
  read -r inside_passed inside_failed <"$work/result"
  passed=$((passed + inside_passed)) failed=$((failed + inside_failed))
else
  failed=$((failed + 1))
  echo 'FAIL the tests ended before their end'
fi
finish
