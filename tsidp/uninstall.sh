#!/usr/bin/env bash
# Removes tsidp. Its state, the node's identity and Omni's client, is kept without --purge.
set -euo pipefail
# shellcheck source=lib.sh disable=SC1091
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

help() {
  cat <<'HELP'
Removes tsidp: unit, binary, environment file. Keeps its state, so that install.sh brings the same issuer back.

Usage: uninstall.sh [options]

  --purge      Remove the state and the user as well: the node's identity, the signing key and every client are gone,
               and logging in to Omni ends. Asks for the word `purge`, on a terminal.
  --yes        Do not ask
  --dry-run    Say what would be done, change nothing
HELP
}

purge=no yes=no

parse() {
  while (($# > 0)); do
    case $1 in
      --purge) purge=yes ;;
      --yes) yes=yes ;;
      --dry-run) dry_run=yes ;;
      -h | --help) help && exit 0 ;;
      *) usage_error "unknown argument \`$1\`" ;;
    esac
    shift
  done
}

confirm_purge() {
  if [[ $yes == yes || $dry_run == yes ]]; then return; fi
  if [[ ! -t 0 ]]; then die "--purge destroys the issuer; cannot prompt without a terminal" "next: $0 --purge --yes"; fi
  local answer
  read -r -p "This destroys the issuer and every client in $TSIDP_STATE. Type \`purge\` to go on: " answer
  if [[ $answer != purge ]]; then die "not purged; nothing was changed"; fi
}

stop_service() {
  systemctl disable --quiet --now tsidp.service 2>/dev/null || true
  remove_drop_in
}

remove_program() {
  rm -f "$TSIDP_UNIT" "$TSIDP_BINARY" "$TSIDP_BINARY.prev" "$TSIDP_ENVIRONMENT" "$TSIDP_VERSION_FILE"
  rmdir "$(dirname "$TSIDP_VERSION_FILE")" 2>/dev/null || true
  systemctl daemon-reload
}

remove_state() {
  rm -rf "$TSIDP_STATE"
  if getent passwd tsidp >/dev/null; then userdel tsidp; fi
}

main() {
  parse "$@"
  require_root
  require_programs systemctl getent
  if [[ $purge == yes ]]; then confirm_purge; fi
  plan "stop the service and take it from the boot" stop_service
  plan "remove unit, binary and environment file" remove_program
  if [[ $purge == yes ]]; then
    plan "remove $TSIDP_STATE and the user tsidp" remove_state
  elif [[ -d $TSIDP_STATE ]]; then
    say "$TSIDP_STATE is kept: install.sh restores the same issuer without a key."
  fi
  if [[ $dry_run == yes ]]; then
    say "Nothing was changed."
    return
  fi
  say "tsidp is removed."
  if [[ $purge == yes ]]; then
    say "next: delete the device in Tailscale's admin console, its grants from the policy, and copies in $TSIDP_BACKUPS"
  fi
}

main "$@"
