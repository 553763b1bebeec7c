#!/usr/bin/env bash
# Trains each baseline for so many CPU-hours (resumable: started again with more, it goes on; 0.8 by their
# settings), our model from nothing by baselines/configs/ours.yaml (0.8 CPU-hours), and scores them beside
# our bundled model: docs/scores/baselines_*. Let nothing else run while it scores: times count.
#   scripts/baselines.sh [CPU-HOURS OF EACH BASELINE [CPU-HOURS OF OUR MODEL]]
set -euo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
# songs to train on; what is there stays
"$python" -m stemweave compose data/fresh9 --songs 1300 --seed 1300000 --voiced --mma-tempo
"$python" -m stemweave compose data/riffs8 --songs 100 --seed 430000 --riffs --voiced --mma-tempo
scripts/test_songs.sh
reports=out/reports
runs=()
budget=() # else that of the settings
[ $# -lt 1 ] || budget=(--cpu-hours "$1")
for name in open_unmix htdemucs msdm; do
  "$python" -m baselines train "$name" "baselines/configs/$name.yaml" --run "runs/$name" "${budget[@]}"
  runs+=(--run "runs/$name")
done
"$python" -m baselines train ours baselines/configs/ours.yaml --run runs/ours
ours=(--ours runs/ours)
[ $# -lt 2 ] || ours+=(--our-cpu-hours "$2")

compare() { # NAME, then the command's arguments
  local name=$1
  shift
  "$python" -m baselines "$@" --overwrite -o "$reports/$name" >/dev/null
  mkdir -p "docs/scores/$name"
  cp "$reports/$name"/table.{json,md} "docs/scores/$name/"
}
# most of the time is MSDM's: half a minute a segment at its own 50 steps
compare baselines_separation evaluate data/validation "${runs[@]}" "${ours[@]}" -n 24 --msdm-steps 20
compare baselines_separation_freedoom evaluate data/freedoom4 "${runs[@]}" "${ours[@]}" \
  -n 24 --msdm-steps 20
compare baselines_generation generation data/validation --run runs/msdm -n 48 --msdm-steps 20
