#!/usr/bin/env bash
# Backs up tsidp's state, lists the copies, and restores one.
set -euo pipefail
# shellcheck source=lib.sh disable=SC1091
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

help() {
  cat <<'HELP'
Backs up tsidp's state: the node's identity, the signing key, the clients with their secrets.

Usage: backup.sh [--to DIRECTORY] [--gpg-recipient KEY] [--dry-run]
       backup.sh --list
       backup.sh --restore FILE [--timeout SECONDS] [--dry-run]

  --to DIRECTORY         Where the copy goes (default: /var/backups/tsidp)
  --gpg-recipient KEY    Encrypt it to this key, which root's keyring must have; leave the host only so
  --list                 The copies in that directory
  --restore FILE         Replace the state by this copy. One instance alone may ever run from one state.
  --timeout SECONDS      How long to wait for the discovery document after a restore (default: 180)
  --dry-run              Say what would be done, change nothing

The service is stopped for the moment of the copy: the clients file is written in place, and a copy could be torn.
HELP
}

directory=$TSIDP_BACKUPS recipient='' action=backup archive='' timeout=180 was_active=no

parse() {
  while (($# > 0)); do
    case $1 in
      --to)
        directory=$(value_of "$@") || exit
        shift
        ;;
      --gpg-recipient)
        recipient=$(value_of "$@") || exit
        shift
        ;;
      --list) action=list ;;
      --restore)
        action=restore
        archive=$(value_of "$@") || exit
        shift
        ;;
      --timeout)
        timeout=$(value_of "$@") || exit
        shift
        ;;
      --dry-run) dry_run=yes ;;
      -h | --help) help && exit 0 ;;
      *) usage_error "unknown argument \`$1\`" ;;
    esac
    shift
  done
  check_seconds "$timeout"
}

list_copies() {
  if [[ ! -d $directory ]]; then
    say "no copies in $directory"
    return
  fi
  find "$directory" -maxdepth 1 -type f -name '*.tar.gz*' -printf '%TY-%Tm-%Td %TH:%TM  %s bytes  %p\n' | sort
}

# Only what cannot be created again.
check_archive() {
  local names
  names=$(tar -tzf "$1") || die "$1 is not a readable archive"
  if [[ $names != *tsidp/tailscaled.state* ]]; then die "$1 has no tailscaled.state: it is not a copy of tsidp's state"; fi
  if [[ $names != *tsidp/oidc-key.json* ]]; then note "warning: no signing key in it; tsidp makes one at the first login"; fi
  if [[ $names != *tsidp/oidc-funnel-clients.json* ]]; then note "warning: no clients in it; has Omni's been made yet?"; fi
}

restart_if_it_ran() {
  if [[ $was_active == yes ]]; then systemctl start tsidp.service; fi
}

make_copy() {
  if is_active; then was_active=yes; fi
  trap restart_if_it_ran EXIT
  systemctl stop tsidp.service
  archive_state "$archive"
  restart_if_it_ran
  trap - EXIT
  check_archive "$archive"
  if [[ -n $recipient ]]; then
    (umask 077 && gpg --batch --yes --trust-model always --encrypt --recipient "$recipient" \
      --output "$archive.gpg" "$archive")
    rm -f "$archive"
    archive=$archive.gpg
  fi
}

replace_state() {
  local before
  before=$TSIDP_BACKUPS/before-restore-$(date -u +%Y%m%dT%H%M%SZ).tar.gz
  systemctl stop tsidp.service || true
  if [[ -f $TSIDP_STATE/tailscaled.state ]]; then
    archive_state "$before"
    say "  the previous state is in $before"
  fi
  restore_state "$archive"
}

main() {
  parse "$@"
  require_root
  case $action in
    list) list_copies ;;
    backup)
      require_installed
      if [[ -n $recipient ]]; then require_programs gpg; fi
      archive=$directory/tsidp-$(date -u +%Y%m%dT%H%M%SZ).tar.gz
      plan "stop tsidp, copy its state to $archive (0600), start it again" make_copy
      if [[ $dry_run == yes ]]; then say "Nothing was changed."; else say "backed up: $archive"; fi
      ;;
    restore)
      # Installed first, this host would join the tailnet as a second device.
      require_installed "next: sudo tar -xzf $archive -C /var/lib" "next: sudo tsidp/install.sh"
      if [[ $archive == *.gpg ]]; then die "decrypt it first" "next: gpg --output tsidp.tar.gz --decrypt $archive"; fi
      if [[ ! -r $archive ]]; then die "cannot read $archive"; fi
      check_archive "$archive"
      plan "stop tsidp and replace its state by $archive" replace_state
      plan "start it and check its discovery document" start_and_prove "$timeout"
      if [[ $dry_run == yes ]]; then say "Nothing was changed."; else say "restored."; fi
      ;;
  esac
}

main "$@"
