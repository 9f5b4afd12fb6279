#!/usr/bin/env bash
# Kills the whole runbook at random instants, against the lab, and runs it again: 60 times, as the pipeline does. Interrupts
# every task in every program that it calls. Damages a backup 200 times (CORRUPT).
#
#   .ci/kill.sh               OMNI_SCALE_KILLS and OMNI_SCALE_SEED give another number and the instants of an earlier run
#
# The soak of docs/benchmarks.md is the same with OMNI_SCALE_KILLS=1000. The closing line names the seed.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
export OMNI_SCALE_KILLS=${OMNI_SCALE_KILLS:-60}
export CORRUPT=${CORRUPT:-200}
exec cargo test --quiet --package xtask --test it -- killed:: interrupted:: backup::every_damage --nocapture
