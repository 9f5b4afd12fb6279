# shellcheck shell=bash
# Shared by the scripts in this directory. Sourced, never run.
# shellcheck disable=SC2034 # the scripts use the constants

readonly TSIDP_DEFAULT_VERSION=0.0.12
readonly TSIDP_RELEASES=https://github.com/tailscale/tsidp/releases/download
readonly TSIDP_BINARY=/usr/local/bin/tsidp
readonly TSIDP_STATE=/var/lib/tsidp
readonly TSIDP_ENVIRONMENT=/etc/default/tsidp
readonly TSIDP_UNIT=/etc/systemd/system/tsidp.service
# The next boot removes it if a script exits before it does.
readonly TSIDP_DROP_IN=/run/systemd/system/tsidp.service.d/proof.conf
# Before 2026 the program has no -version flag, so the version is stored in a file.
readonly TSIDP_VERSION_FILE=/usr/local/share/tsidp/version
readonly TSIDP_BACKUPS=/var/backups/tsidp

dry_run=no

say() { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '%s\n' "$line" >&2; done
  exit 1
}
usage_error() {
  printf 'error: %s\nnext: %s --help\n' "$1" "$0" >&2
  exit 2
}

# plan TEXT COMMAND…: prints the step, and runs it unless this is a dry run.
plan() {
  say "- $1"
  shift
  if [[ $dry_run == no ]]; then "$@"; fi
}

# value_of "$@": the argument after a flag, or a usage error.
value_of() {
  if (($# < 2)) || [[ -z $2 || $2 == --* ]]; then usage_error "$1 needs a value"; fi
  printf '%s' "$2"
}

require_root() {
  if ((EUID != 0)); then die "this must run as root" "next: sudo $0"; fi
}

require_programs() {
  local missing=()
  for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
  if ((${#missing[@]} > 0)); then
    die "not installed: ${missing[*]}" "next: apt-get install curl tar coreutils passwd systemd"
  fi
}

require_debian() {
  local id=''
  id=$(sed -n 's/^\(ID\|ID_LIKE\)=//p' /etc/os-release 2>/dev/null | tr -d '"' | tr '\n' ' ')
  if [[ " $id" != *[\ ]debian\ * ]]; then
    die "this is not Debian or a relative of it (/etc/os-release: ${id:-nothing})"
  fi
}

require_installed() { # [NEXT…]
  if [[ ! -x $TSIDP_BINARY || ! -f $TSIDP_UNIT ]]; then
    if (($# == 0)); then set -- "next: sudo tsidp/install.sh --auth-key-file FILE"; fi
    die "tsidp is not installed here ($TSIDP_BINARY, $TSIDP_UNIT)" "$@"
  fi
}

check_version() {
  if [[ ! $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then usage_error "--version: \`$1\` is not like 0.0.12 (without a v)"; fi
}

check_sha256() {
  if [[ -n $1 && ! $1 =~ ^[0-9a-f]{64}$ ]]; then usage_error "--sha256: not 64 digits of 0-9a-f"; fi
}

check_hostname() {
  if [[ ! $1 =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]]; then
    usage_error "--hostname: \`$1\` is not a DNS label (a-z, 0-9 and - inside, 63 at most)"
  fi
}

check_seconds() {
  if [[ ! $1 =~ ^[1-9][0-9]{0,4}$ ]]; then usage_error "--timeout: \`$1\` is not a number of seconds"; fi
}

# Only https, except for a server on this machine.
check_base_url() {
  if [[ ! $1 =~ ^https://[^[:space:]]+$ && ! $1 =~ ^http://(127\.0\.0\.1|localhost):[0-9]+(/[^[:space:]]*)?$ ]]; then
    usage_error "--base-url: \`$1\` is not https"
  fi
}

machine_architecture() {
  case $(uname -m) in
    x86_64) printf amd64 ;;
    aarch64 | arm64) printf arm64 ;;
    *) die "there is no tsidp release for $(uname -m); there is one for amd64 and arm64" ;;
  esac
}

installed_version() {
  if [[ -r $TSIDP_VERSION_FILE ]]; then cat "$TSIDP_VERSION_FILE"; else printf unknown; fi
}

is_active() { systemctl is-active --quiet tsidp.service; }

fetch() { # URL FILE
  local protocol='=https'
  if [[ $1 == http://* ]]; then protocol='=http'; fi
  curl --fail --silent --show-error --location --proto "$protocol" --retry 2 --connect-timeout 15 --max-time 300 \
    --output "$2" -- "$1"
}

checksum_in() { # FILE ARCHIVE
  awk -v name="$2" '$2 == name || $2 == "*" name { print tolower($1) }' "$1"
}

# download VERSION BASE_URL SHA256 DIRECTORY: leaves a verified `tsidp` in the directory, or dies.
# The checksum comes with the release; --sha256, or a checksums.txt beside this file, pins it beforehand, which is the stronger proof.
download() {
  local version=$1 base=$2 wanted=$3 directory=$4
  local architecture
  architecture=$(machine_architecture)
  local archive="tsidp_${version}_linux_$architecture.tar.gz"
  local sums="tsidp_${version}_checksums.txt"
  fetch "$base/v$version/$archive" "$directory/$archive" ||
    die "could not download $base/v$version/$archive" "Is $version a release? Can this host reach the internet?"
  local pinned
  pinned=$(dirname "${BASH_SOURCE[0]}")/checksums.txt
  if [[ -z $wanted && -f $pinned ]]; then wanted=$(checksum_in "$pinned" "$archive"); fi
  if [[ -z $wanted ]]; then
    fetch "$base/v$version/$sums" "$directory/$sums" ||
      die "could not download $base/v$version/$sums, so the archive cannot be verified" \
        "next: find its SHA-256 on the release page, then run again with --sha256"
    wanted=$(checksum_in "$directory/$sums" "$archive")
    if [[ ! $wanted =~ ^[0-9a-f]{64}$ ]]; then die "$sums has no checksum for $archive"; fi
  fi
  local found
  found=$(sha256sum "$directory/$archive" | cut -d' ' -f1)
  if [[ $found != "$wanted" ]]; then
    die "$archive is not what was published" "expected $wanted" "found    $found"
  fi
  tar -xzf "$directory/$archive" -C "$directory" --no-same-owner tsidp ||
    die "$archive holds no file \`tsidp\`"
  if [[ ! -f $directory/tsidp || -L $directory/tsidp ]]; then die "$archive: \`tsidp\` is not a plain file"; fi
}

put_binary() { # FILE VERSION
  install -D -m 0755 -o root -g root "$1" "$TSIDP_BINARY.new"
  mv -f "$TSIDP_BINARY.new" "$TSIDP_BINARY"
  install -d -m 0755 "$(dirname "$TSIDP_VERSION_FILE")"
  printf '%s\n' "$2" >"$TSIDP_VERSION_FILE"
}

put_unit() {
  install -D -m 0644 -o root -g root "$(dirname "${BASH_SOURCE[0]}")/tsidp.service" "$TSIDP_UNIT"
  systemctl daemon-reload
}

# set_environment KEY VALUE: replaces or adds one line; the other lines and their order stay. With an empty VALUE the line
# goes. The value is never an argument of another program.
set_environment() {
  local key=$1 value=$2 line found=no temporary
  install -d -m 0755 "$(dirname "$TSIDP_ENVIRONMENT")"
  temporary=$(umask 077 && mktemp "$TSIDP_ENVIRONMENT.XXXXXX")
  if [[ -f $TSIDP_ENVIRONMENT ]]; then
    while IFS= read -r line || [[ -n $line ]]; do
      if [[ $line == "$key="* ]]; then
        if [[ -n $value && $found == no ]]; then printf '%s=%s\n' "$key" "$value"; fi
        found=yes
      else
        printf '%s\n' "$line"
      fi
    done <"$TSIDP_ENVIRONMENT" >"$temporary"
  fi
  if [[ $found == no && -n $value ]]; then printf '%s=%s\n' "$key" "$value" >>"$temporary"; fi
  chmod 0600 "$temporary"
  mv -f "$temporary" "$TSIDP_ENVIRONMENT"
}

environment_value() { sed -n "s/^$1=//p" "$TSIDP_ENVIRONMENT" 2>/dev/null | head -n 1 || true; }

forget_key() {
  if [[ -f $TSIDP_ENVIRONMENT ]]; then
    set_environment TS_AUTHKEY ''
    set_environment TSNET_FORCE_LOGIN ''
  fi
}

free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 20000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
  die "found no free port on loopback"
}

# The service's log since its last start.
service_log() {
  local invocation
  invocation=$(systemctl show --property InvocationID --value tsidp.service)
  journalctl --quiet --no-pager --output cat "_SYSTEMD_INVOCATION_ID=$invocation" 2>/dev/null || true
}

explain_start() { # LOG: what is known about a start that does not succeed
  case $1 in
    *'invalid key'*) note "Tailscale refuses the key: used up, expired, or no auth key. Make a new one." ;;
    *'are invalid or not permitted'*) note "The key's tag has no owner in tagOwners of the policy (tsidp/grant.json)." ;;
    *'restart with TS_AUTHKEY set'*) note "It waits for a login: there is no state, and no key that it could use." ;;
    *'enable HTTPS'*) note "Switch on HTTPS Certificates on the DNS page of the admin console." ;;
    *'MagicDNS'*) note "Switch on MagicDNS on the DNS page of the admin console." ;;
    *'TAILSCALE_USE_WIP_CODE'*) note "This version wants TAILSCALE_USE_WIP_CODE=1 in $TSIDP_ENVIRONMENT." ;;
    *'could not load funnel clients'*) note "oidc-funnel-clients.json is broken: restore it (tsidp/backup.sh --restore)." ;;
  esac
}

remove_drop_in() {
  rm -f "$TSIDP_DROP_IN"
  rmdir "$(dirname "$TSIDP_DROP_IN")" 2>/dev/null || true
}

# wait_for_document PORT SECONDS: the discovery document, or status 1.
wait_for_document() {
  local deadline=$((SECONDS + $2)) document=''
  while ((SECONDS < deadline)); do
    document=$(curl --silent --fail --max-time 5 "http://localhost:$1/.well-known/openid-configuration" 2>/dev/null || true)
    if [[ $document == *'"issuer"'* && $document == *'"jwks_uri"'* ]]; then
      # The signing key is made at the first request for it; a backup before that would lack it.
      curl --silent --fail --max-time 10 --output /dev/null "http://localhost:$1/.well-known/jwks.json" || true
      printf '%s' "$document"
      return 0
    fi
    if ! is_active; then return 1; fi
    sleep 1
  done
  return 1
}

# start_and_prove SECONDS: (re)starts the service and checks that it serves; status 1 and a reason if not.
#
# `systemctl is-active` proves nothing: tsidp is active while it waits for its login. This host cannot reach the
# tailnet, because tsidp's network is inside its process. So it runs once with a loopback listener, where its discovery
# document is served only when it is up and logged in; then again without it, because every client of that listener is an
# administrator.
start_and_prove() {
  local port document log url
  port=$(free_port)
  install -d -m 0755 "$(dirname "$TSIDP_DROP_IN")"
  # shellcheck disable=SC2016 # systemd expands it
  printf '[Service]\nExecStart=\nExecStart=%s -dir %s -hostname ${TSIDP_HOSTNAME} -port 443 -local-port %s\n' \
    "$TSIDP_BINARY" "$TSIDP_STATE" "$port" >"$TSIDP_DROP_IN"
  systemctl daemon-reload
  systemctl reset-failed tsidp.service 2>/dev/null || true
  if ! systemctl restart tsidp.service || ! document=$(wait_for_document "$port" "$1"); then
    log=$(service_log)
    note "error: tsidp did not serve its discovery document within $1 s"
    tail -n 15 <<<"$log" | sed 's/tskey-[A-Za-z0-9-]*/tskey-***/g; s/^/  | /' >&2
    explain_start "$log"
    remove_drop_in
    systemctl daemon-reload
    if [[ -n $(environment_value TS_AUTHKEY) ]]; then
      # It must not keep waiting for a login with the key in its environment.
      systemctl stop tsidp.service || true
    else
      # It was logged in before and may only be slow: without the listener it continues by itself.
      systemctl restart tsidp.service || true
    fi
    return 1
  fi
  remove_drop_in
  # The key has been used, and a second start with it could log in again.
  forget_key
  systemctl daemon-reload
  systemctl restart tsidp.service
  local deadline=$((SECONDS + $1))
  while log=$(service_log) && [[ $log != *'server started'* ]]; do
    if ((SECONDS >= deadline)) || ! is_active; then
      note "error: tsidp served once, but did not come up again"
      tail -n 15 <<<"$log" | sed 's/^/  | /' >&2
      explain_start "$log"
      return 1
    fi
    sleep 1
  done
  url=$(sed -n 's/.*server_url="\{0,1\}\(https:[^" ]*\).*/\1/p' <<<"$log" | tail -n 1)
  say "  issuer: ${url:-see journalctl -u tsidp}"
  check_name "$url"
}

# A name with a number suffix means that the state was lost while the old device is still listed: the issuer's URL has
# changed, and every login fails.
check_name() {
  local wanted host
  wanted=$(environment_value TSIDP_HOSTNAME)
  host=${1#https://}
  host=${host%%.*}
  if [[ -n $1 && $host != "$wanted" ]]; then
    note "error: the tailnet calls this node \`$host\`, not \`$wanted\`: another device has that name"
    note "If there is a copy of the old state, restore it (tsidp/README.md). Else delete the old device in the admin console, then run tsidp/install.sh again with --force-login and a new key."
    return 1
  fi
}

# archive_state FILE: the state directory, with the service stopped by the caller, as a file that only root reads; with it the
# name and the version, which a new host needs.
archive_state() {
  local path also=()
  for path in "$TSIDP_ENVIRONMENT" "$TSIDP_VERSION_FILE"; do
    if [[ -f $path ]]; then also+=(-C / "${path#/}"); fi
  done
  install -d -m 0700 "$(dirname "$1")"
  (umask 077 && tar -C "$(dirname "$TSIDP_STATE")" -czf "$1.part" "$(basename "$TSIDP_STATE")" "${also[@]}")
  tar -tzf "$1.part" >/dev/null || die "the archive $1.part cannot be read back"
  mv -f "$1.part" "$1"
}

restore_state() { # FILE: replaces the state directory with what the archive holds
  local directory
  directory=$(dirname "$TSIDP_STATE")
  rm -rf "$TSIDP_STATE.new"
  mkdir -m 0700 "$TSIDP_STATE.new"
  tar -xzf "$1" -C "$TSIDP_STATE.new" --strip-components 1 --no-same-owner "$(basename "$TSIDP_STATE")"
  rm -rf "$TSIDP_STATE"
  mv "$TSIDP_STATE.new" "$TSIDP_STATE"
  own_state
  sync "$directory"
}

own_state() {
  install -d -m 0700 -o tsidp -g tsidp "$TSIDP_STATE"
  chown -R tsidp:tsidp "$TSIDP_STATE"
  chmod -R go= "$TSIDP_STATE"
}
