#!/usr/bin/env bash
# Upgrades tsidp, and restores the old version if the new one does not serve.
set -euo pipefail
# shellcheck source=lib.sh disable=SC1091
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

help() {
  cat <<'HELP'
Upgrades tsidp. Keeps the old binary and a copy of the state, and goes back to both when the new version does not serve.

Usage: upgrade.sh [options]

  --version VERSION      Release (default: 0.0.12)
  --sha256 HEX           SHA-256 of the release archive, instead of checksums.txt or of the release's own file
  --base-url URL         Where the releases are, for a mirror
  --timeout SECONDS      How long to wait for the discovery document (default: 180)
  --dry-run              Check everything and print the plan; change nothing
HELP
}

version=$TSIDP_DEFAULT_VERSION sha256='' base_url=$TSIDP_RELEASES timeout=180 work='' copy='' stopped=no

parse() {
  while (($# > 0)); do
    case $1 in
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
  check_version "$version"
  check_sha256 "$sha256"
  check_base_url "$base_url"
  check_seconds "$timeout"
}

keep_old() {
  if is_active; then stopped=yes; fi
  systemctl stop tsidp.service
  archive_state "$copy"
  cp -p "$TSIDP_BINARY" "$TSIDP_BINARY.prev"
}

go_back() {
  note "going back to tsidp $1"
  systemctl stop tsidp.service || true
  restore_state "$copy"
  put_binary "$TSIDP_BINARY.prev" "$1"
  if start_and_prove "$timeout"; then
    note "tsidp $1 runs again; nothing was lost"
  else
    note "tsidp $1 does not come up either; its state is in $copy"
  fi
}

clean_up() {
  if [[ -n $work ]]; then rm -rf "$work"; fi
  if [[ $dry_run == no && $EUID == 0 ]]; then remove_drop_in; fi
  # It failed between stop and start, for example on a full disk: start the installed version, whichever it is.
  if [[ $stopped == yes ]]; then systemctl start tsidp.service || true; fi
}

main() {
  parse "$@"
  require_root
  require_programs curl tar sha256sum install systemctl journalctl awk sed
  require_installed
  local old
  old=$(installed_version)
  if [[ $old == "$version" ]] && is_active; then
    say "tsidp $version runs already; nothing to do."
    return
  fi
  trap clean_up EXIT
  work=$(mktemp -d)
  copy=$TSIDP_BACKUPS/before-$version-$(date -u +%Y%m%dT%H%M%SZ).tar.gz

  say "tsidp $old -> $version"
  # Check this before stopping anything.
  plan "download tsidp $version for $(machine_architecture) and verify it" download "$version" "$base_url" "$sha256" "$work"
  plan "stop it, copy the state to $copy, keep the old binary as $TSIDP_BINARY.prev" keep_old
  plan "install the new binary" put_binary "$work/tsidp" "$version"
  plan "install the unit $TSIDP_UNIT" put_unit
  if [[ $dry_run == yes ]]; then
    say "- start it and check its discovery document; restore binary and state if that fails"
    say "Nothing was changed."
    return
  fi
  say "- start it and check its discovery document"
  stopped=no
  if ! start_and_prove "$timeout"; then
    go_back "$old"
    die "tsidp $version does not serve"
  fi
  say "tsidp $version runs."
  say "next: from a device on the tailnet: cargo xtask tsidp-verify"
}

main "$@"
