#!/usr/bin/env bash
# Fuzzes the lab's simulated services and the runner's parsers: bounded, and with a seed that is
# printed, so that a finding can be had again.
#
#   .ci/fuzz.sh               FUZZ_COUNT (cases of each kind) and FUZZ_SEED set the run
#
# `cargo test` does the same with fewer cases.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
export FUZZ_COUNT=${FUZZ_COUNT:-2000}
cargo test --quiet --package lab --test proxmox --test stand_ins -- fuzz --nocapture
cargo test --quiet --package xtask --test it -- fuzz --nocapture
