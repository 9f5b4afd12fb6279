#!/usr/bin/env bash
# Runs the scripts of tsidp/ for real, as root, in a throwaway root: a copy-on-write layer over this Debian (or, with
# --debootstrap, a fresh one), in mount, process and network namespaces of its own. What is not real, by name:
#   systemctl, journalctl  tests/stub-systemctl: no systemd in there; it starts the shipped unit's command as its user
#   the release archives   made here, and served by a server on loopback: the internet is not reached
#   tsidp                  tests/fake-tsidp in those archives: there is no tailnet
# Needs root and busybox; what is missing is said and skipped.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
kit=$(dirname "$(dirname "$here")")
passed=0 failed=0 skipped=0
work=''

skip() {
  skipped=$((skipped + 1))
  echo "SKIP $1"
}
finish() {
  echo
  echo "tsidp: $passed passed, $failed failed, $skipped skipped"
  if [[ -n $work ]]; then rm -rf "$work"; fi
  if ((failed > 0)); then exit 1; fi
  exit 0
}
check() {
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    echo "FAIL $name"
  fi
}

# The archives that a release has, as goreleaser makes them.
make_releases() { # DIRECTORY
  local version architecture directory archive
  architecture=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
  for version in 0.0.12 0.0.13 0.0.14 0.0.15 0.9.9; do
    directory=$1/v$version
    mkdir -p "$directory" "$1/fake/$version"
    cp "$here/fake-tsidp" "$1/fake/$version/tsidp"
    printf '# VERSION=%s\n' "$version" >>"$1/fake/$version/tsidp"
    chmod 0755 "$1/fake/$version/tsidp"
    archive=tsidp_${version}_linux_$architecture.tar.gz
    tar -C "$1/fake/$version" -czf "$directory/$archive" tsidp
    cp "$directory/$archive" "$1/fake/$version/archive"
    (cd "$directory" && sha256sum "$archive" >"tsidp_${version}_checksums.txt")
  done
  # One whose archive was changed after its checksum was made, and one that has no checksum file.
  echo x >>"$1/v0.0.13/tsidp_0.0.13_linux_$architecture.tar.gz"
  rm "$1/v0.0.14/tsidp_0.0.14_checksums.txt"
}

inside() { # runs in the namespaces; $1 = work directory, $2 = overlay or debootstrap
  set -e
  local root=$1/root
  mkdir -p "$root"
  if [[ $2 == overlay ]]; then
    mkdir -p "$1/layer"
    mount -t tmpfs tmpfs "$1/layer"
    mkdir "$1/layer/upper" "$1/layer/work"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layer/upper,workdir=$1/layer/work" "$root"
  fi
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  for directory in run tmp sys srv; do mount -t tmpfs tmpfs "$root/$directory"; done
  touch "$root/run/throwaway-root"
  mkdir "$root/srv/fake" "$root/srv/releases" "$root/kit"
  mount --bind -o ro "$kit" "$root/kit"
  cp -r "$1/releases/fake/." "$root/srv/fake/"
  cp -r "$1/releases"/v* "$root/srv/releases/"
  install -m 0755 "$here/stub-systemctl" "$root/usr/local/bin/systemctl"
  install -m 0755 "$here/stub-systemctl" "$root/usr/local/bin/journalctl"
  install -m 0755 "$(command -v busybox)" "$root/usr/bin/busybox"
  ip link set lo up
  busybox httpd -p 127.0.0.1:8123 -h "$root/srv/releases"
  mkdir -p "$root/var/lib/tsidp-test"
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    chroot "$root" bash /kit/tsidp/tests/inside.sh || true
  cp "$root/tmp/result" "$1/result" 2>/dev/null || echo '0 1' >"$1/result"
}

if [[ ${1:-} == --inside ]]; then
  inside "$2" "$3"
  exit
fi

echo '# scripts and unit'
if command -v shellcheck >/dev/null; then
  check shellcheck shellcheck -x "$kit"/tsidp/*.sh "$here"/*.sh "$here/fake-tsidp" "$here/stub-systemctl"
else
  skip 'shellcheck: not installed'
fi
if command -v shfmt >/dev/null; then
  check shfmt shfmt -d -i 2 -ci "$kit"/tsidp/*.sh "$here"/*.sh "$here/fake-tsidp" "$here/stub-systemctl"
else
  skip 'shfmt: not installed'
fi
if command -v systemd-analyze >/dev/null; then
  work=$(mktemp -d)
  # verify wants the program to exist; the user too.
  sed 's|^ExecStart=/usr/local/bin/tsidp|ExecStart=/bin/true|; s|^User=.*|User=root|; s|^Group=.*|Group=root|' \
    "$kit/tsidp/tsidp.service" >"$work/tsidp.service"
  check 'systemd-analyze verify, without a word' test -z "$(systemd-analyze verify "$work/tsidp.service" 2>&1)"
  check 'systemd-analyze security: exposure below 2' systemd-analyze security --offline=true --threshold=20 --no-pager "$kit/tsidp/tsidp.service" >/dev/null
  rm -rf "$work" && work=''
else
  skip 'systemd-analyze: not installed'
fi

echo '# the scripts in a throwaway root'
if ((EUID != 0)); then
  skip 'throwaway root: not root'
  finish
fi
for program in busybox unshare chroot ip curl; do
  if ! command -v "$program" >/dev/null; then
    skip "throwaway root: $program is not installed"
    finish
  fi
done
kind=overlay
if [[ ${1:-} == --debootstrap ]]; then kind=debootstrap; fi
work=$(mktemp -d)
mkdir -p "$work/releases"
make_releases "$work/releases"
if [[ $kind == debootstrap ]]; then
  debootstrap --variant=minbase --include=curl,ca-certificates,procps,iproute2 stable "$work/root" >"$work/debootstrap.log" 2>&1 || {
    skip "throwaway root: debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"
    finish
  }
elif ! unshare --mount --net --pid --fork bash -c 'mount -t tmpfs tmpfs /mnt' 2>/dev/null; then
  skip 'throwaway root: no namespaces may be made here'
  finish
fi
unshare --mount --net --pid --fork --kill-child bash "$here/run.sh" --inside "$work" "$kind"
read -r inside_passed inside_failed <"$work/result"
passed=$((passed + inside_passed)) failed=$((failed + inside_failed))
finish
