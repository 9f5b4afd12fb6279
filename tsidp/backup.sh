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
       backup.sh --restore FILE --new-host [--timeout SECONDS] [--dry-run] [-- INSTALL_OPTION...]

  --to DIRECTORY         Where the copy goes (default: /var/backups/tsidp)
  --gpg-recipient KEY    Encrypt it to this key, which root's keyring must have; leave the host only so
  --list                 The copies in that directory
  --restore FILE         Replace the state by this copy. One instance alone may ever run from one state.
  --new-host             Install tsidp here with that state, under the name and in the version of the copy: no auth key is
                         needed, and no second device registered. The old host must be off for good.
  --timeout SECONDS      How long to wait for the discovery document after a restore (default: 180)
  --dry-run              Say what would be done, change nothing

The service is stopped for the moment of the copy: the clients file is written in place, and a copy could be torn.
HELP
}

directory=$TSIDP_BACKUPS recipient='' action=backup archive='' timeout=180 was_active=no new_host=no install_options=()

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
      --new-host) new_host=yes ;;
      --)
        shift
        install_options=("$@")
        break
        ;;
      --dry-run) dry_run=yes ;;
      -h | --help) help && exit 0 ;;
      *) usage_error "unknown argument \`$1\`" ;;
    esac
    shift
  done
  check_seconds "$timeout"
  if [[ $new_host == yes && $action != restore ]]; then usage_error "--new-host goes with --restore FILE"; fi
  if ((${#install_options[@]} > 0)) && [[ $new_host == no ]]; then usage_error "options of install.sh go with --new-host"; fi
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

# of_copy FILE: what the copy has of a file; nothing in one that was made before it was kept.
of_copy() { tar -xzOf "$archive" "${1#/}" 2>/dev/null || true; }

put_state() {
  if [[ -f $TSIDP_STATE/tailscaled.state ]]; then
    archive_state "$TSIDP_BACKUPS/before-restore-$(date -u +%Y%m%dT%H%M%SZ).tar.gz"
  fi
  # install.sh gives it to its user.
  rm -rf "$TSIDP_STATE"
  (umask 077 && tar -xzf "$archive" -C "$(dirname "$TSIDP_STATE")" --no-same-owner "$(basename "$TSIDP_STATE")")
}

# install.sh finds the identity, logs in with it, and fails when the tailnet gives the node another name.
install_with_state() {
  local name version options=(--timeout "$timeout")
  name=$(of_copy "$TSIDP_ENVIRONMENT" | sed -n 's/^TSIDP_HOSTNAME=//p')
  version=$(of_copy "$TSIDP_VERSION_FILE")
  if [[ -n $name ]]; then options+=(--hostname "$name"); fi
  if [[ -n $version ]]; then options+=(--version "$version"); fi
  if [[ -z $name ]]; then note "warning: the copy has no name; without \`-- --hostname NAME\` it is idp"; fi
  "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/install.sh" "${options[@]}" "${install_options[@]}"
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
      if [[ $new_host == yes ]]; then
        if [[ -x $TSIDP_BINARY ]]; then die "tsidp is installed here" "next: $0 --restore $archive"; fi
      else
        # Installed first, this host would join the tailnet as a second device.
        require_installed "once the old host is off for good, next: sudo $0 --restore $archive --new-host"
      fi
      if [[ $archive == *.gpg ]]; then die "decrypt it first" "next: gpg --output tsidp.tar.gz --decrypt $archive"; fi
      if [[ ! -r $archive ]]; then die "cannot read $archive"; fi
      check_archive "$archive"
      if [[ $new_host == yes ]]; then
        plan "put the state of $archive in $TSIDP_STATE" put_state
        plan "install tsidp with it, without an auth key" install_with_state
        if [[ $dry_run == yes ]]; then say "Nothing was changed."; else say "restored; keep the old host off."; fi
        return
      fi
      plan "stop tsidp and replace its state by $archive" replace_state
      plan "start it and check its discovery document" start_and_prove "$timeout"
      if [[ $dry_run == yes ]]; then say "Nothing was changed."; else say "restored."; fi
      ;;
  esac
}

main "$@"
