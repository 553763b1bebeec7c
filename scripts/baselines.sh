#!/usr/bin/env bash
# Trains the baselines for the CPU time of their settings (resumable: start it again) and scores them
# beside our model: docs/scores/baselines_*. Let nothing else run while it scores: times count.
#   scripts/baselines.sh [CPU-HOURS OF OUR MODEL'S TRAINING]
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
reports=out/reports
runs=()
for name in open_unmix htdemucs msdm; do
  "$python" -m baselines train "$name" "baselines/configs/$name.yaml" --run "runs/$name"
  runs+=(--run "runs/$name")
done
ours=()
[ $# -eq 0 ] || ours=(--our-cpu-hours "$1")

compare() { # NAME, then the command's arguments
  local name=$1
  shift
  "$python" -m baselines "$@" --overwrite -o "$reports/$name" >/dev/null
  mkdir -p "docs/scores/$name"
  cp "$reports/$name"/table.{json,md} "docs/scores/$name/"
}
compare baselines_separation evaluate data/validation "${runs[@]}" "${ours[@]}"
compare baselines_separation_freedoom evaluate data/freedoom4 "${runs[@]}" "${ours[@]}"
compare baselines_generation generation data/validation --run runs/msdm
