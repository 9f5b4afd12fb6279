#!/usr/bin/env bash
# Drives the simulated Proxmox with third-party clients: proxmoxer from PyPI and proxmox-api from npm, each
# through a whole life of a virtual machine and an audit of permissions.
#
#   .ci/clients.sh
#
# Needs python3 with venv, npm, and their registries. What is installed goes away again.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
for program in python3 npm; do
  command -v "$program" >/dev/null 2>&1 || {
    printf 'error: %s is not installed; the foreign clients need it\n' "$program" >&2
    exit 4
  }
done
cargo build --quiet --package lab
exec lab/clients/run
