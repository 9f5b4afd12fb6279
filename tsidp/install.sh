#!/usr/bin/env bash
# Installs tsidp, the OIDC provider of the tailnet, on a Debian machine of its own. Safe to run again at any time.
set -euo pipefail
# shellcheck source=lib.sh disable=SC1091
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

help() {
  cat <<'HELP'
Installs tsidp, the OIDC provider of the tailnet, on a Debian machine of its own.

Usage: install.sh [--auth-key-file FILE | --auth-key-stdin] [options]

  --auth-key-file FILE   Tailscale auth key: one-off, pre-approved, not ephemeral, with tag:idp.
  --auth-key-stdin       The same, from standard input. Never an argument: anyone can read those.
                         Needed for the first login alone.
  --hostname NAME        Name in the tailnet, part of the issuer's URL (default: idp, or the one already set)
  --version VERSION      Release of a first installation (default: 0.0.12); later upgrade.sh changes it
  --sha256 HEX           SHA-256 of the release archive, instead of checksums.txt or of the release's own file
  --base-url URL         Where the releases are, for a mirror
  --force-login          Use the key although there is a login: registers the node again
  --timeout SECONDS      How long to wait for the discovery document (default: 180)
  --allow-shared-host    Install although this host runs Tailscale or Omni
  --dry-run              Check everything and print the plan; change nothing
HELP
}

key_file='' key_stdin=no hostname='' version='' sha256='' base_url=$TSIDP_RELEASES
force_login=no timeout=180 shared=no auth_key='' work=''

parse() {
  while (($# > 0)); do
    case $1 in
      --auth-key-file)
        key_file=$(value_of "$@") || exit
        shift
        ;;
      --auth-key-stdin) key_stdin=yes ;;
      --hostname)
        hostname=$(value_of "$@") || exit
        shift
        ;;
      --version)
        version=$(value_of "$@") || exit
        shift
        ;;
      --sha256)
        sha256=$(value_of "$@") || exit
        shift
        ;;
      --base-url)
        base_url=$(value_of "$@") || exit
        shift
        ;;
      --force-login) force_login=yes ;;
      --timeout)
        timeout=$(value_of "$@") || exit
        shift
        ;;
      --allow-shared-host) shared=yes ;;
      --dry-run) dry_run=yes ;;
      -h | --help) help && exit 0 ;;
      tskey-*) usage_error "a key must not be an argument; use --auth-key-file or --auth-key-stdin" ;;
      *) usage_error "unknown argument \`$1\`" ;;
    esac
    shift
  done
  choose_version
  check_version "$version"
  check_sha256 "$sha256"
  check_base_url "$base_url"
  check_seconds "$timeout"
  local named
  named=$(environment_value TSIDP_HOSTNAME)
  if [[ -n $hostname && -n $named && $hostname != "$named" && -f $TSIDP_STATE/tailscaled.state ]]; then
    note "warning: the issuer changes with the name, $named to $hostname: set OIDC_ISSUER_URL of Omni to the new one"
  fi
  hostname=${hostname:-$named}
  hostname=${hostname:-idp}
  check_hostname "$hostname"
  if [[ -n $key_file && $key_stdin == yes ]]; then usage_error "--auth-key-file or --auth-key-stdin, not both"; fi
}

# An installed version stays: upgrade.sh changes it, with a copy of the state for a rollback.
choose_version() {
  local installed=unknown
  if [[ -x $TSIDP_BINARY ]]; then installed=$(installed_version); fi
  if [[ $installed == unknown ]]; then
    version=${version:-$TSIDP_DEFAULT_VERSION}
  elif [[ -n $version && $version != "$installed" ]]; then
    die "tsidp $installed is installed here" "next: sudo tsidp/upgrade.sh --version $version"
  else
    version=$installed
  fi
}

# Traffic from a tsnet program to a tailscaled on the same host leaves by one stack and returns by the other; in
# practice it times out. And Omni contacts tsidp at its start: on one host both are down together.
check_place() {
  local reason=''
  if systemctl is-active --quiet tailscaled.service || [[ -e /sys/class/net/tailscale0 ]]; then
    reason='it runs Tailscale, and tsidp cannot be reached from a tailscaled on the same host'
  elif command -v docker >/dev/null && docker ps --format '{{.Image}}' 2>/dev/null | grep siderolabs/omni >/dev/null; then
    reason='it runs Omni, which needs tsidp at its start: one host down would take both'
  fi
  if [[ -z $reason ]]; then return; fi
  if [[ $shared == yes ]]; then
    note "warning: tsidp should not be on this host: $reason"
  else
    die "tsidp should not be on this host: $reason" "next: use a machine of its own, or --allow-shared-host"
  fi
}

read_key() {
  if [[ -n $key_file ]]; then
    if [[ ! -r $key_file ]]; then die "cannot read the key file $key_file"; fi
    auth_key=$(<"$key_file")
  elif [[ $key_stdin == yes ]]; then
    IFS= read -r auth_key || true
  fi
  auth_key=${auth_key//[$'\r\n\t ']/}
  if [[ ($key_stdin == yes || -n $key_file) && ! $auth_key =~ ^tskey-(auth|client)-[A-Za-z0-9-]+$ ]]; then
    die "that is not a Tailscale auth key (tskey-auth-…)"
  fi
  if [[ $auth_key == tskey-client-* ]]; then
    die "an OAuth client secret would be used at every start, and needs tags that this version may not set" \
      "next: make an auth key with tag:idp"
  fi
  if [[ -f $TSIDP_STATE/tailscaled.state && $force_login == no ]]; then
    if [[ -n $auth_key ]]; then note "There is a login already; the key is not needed and not used (--force-login would)."; fi
    auth_key=''
  elif [[ -z $auth_key ]]; then
    die "the first login needs an auth key" "next: $0 --auth-key-file FILE"
  fi
}

make_user() {
  if ! getent passwd tsidp >/dev/null; then
    useradd --system --user-group --home-dir "$TSIDP_STATE" --no-create-home --shell /usr/sbin/nologin tsidp
  fi
}

write_environment() {
  # Required by versions before the security review of October 2025, ignored by later ones.
  set_environment TAILSCALE_USE_WIP_CODE 1
  set_environment TSIDP_HOSTNAME "$hostname"
  if [[ -n $auth_key ]]; then
    set_environment TS_AUTHKEY "$auth_key"
    if [[ $force_login == yes ]]; then set_environment TSNET_FORCE_LOGIN 1; fi
  fi
}

put_release() {
  download "$version" "$base_url" "$sha256" "$work"
  put_binary "$work/tsidp" "$version"
}

clean_up() {
  if [[ -n $work ]]; then rm -rf "$work"; fi
  if [[ $dry_run == no && $EUID == 0 ]]; then
    forget_key
    remove_drop_in
  fi
}

main() {
  parse "$@"
  require_root
  require_debian
  require_programs curl tar sha256sum install useradd getent systemctl journalctl awk sed
  check_place
  read_key
  trap clean_up EXIT
  work=$(mktemp -d)

  say "tsidp $version as https://$hostname.<tailnet>.ts.net"
  plan "download tsidp $version for $(machine_architecture), verify it, install it as $TSIDP_BINARY" put_release
  plan "make the system user tsidp" make_user
  plan "make $TSIDP_STATE, for that user alone" own_state
  plan "write $TSIDP_ENVIRONMENT (0600)" write_environment
  plan "install the unit $TSIDP_UNIT" put_unit
  plan "start it at boot" systemctl enable --quiet tsidp.service
  plan "start it, prove it by its discovery document, remove the key, start it again" start_and_prove "$timeout"
  if [[ $dry_run == yes ]]; then
    say "Nothing was changed."
    return
  fi
  say "tsidp runs."
  if [[ -n $key_file && -n $auth_key ]]; then say "The key has been used; delete $key_file."; fi
  say "next: the grants of tsidp/grant.json, then from a device on the tailnet: cargo xtask tsidp-verify"
}

main "$@"
