#!/usr/bin/env bash
# The shipped mask network of five stems: composes its songs, trains from the mask network of four stems that
# was bundled before, and puts it into MODEL_FOLDER. Goes on where it was stopped.
#   scripts/train_mask.sh VOICES MODEL_FOLDER    VOICES: a folder of recorded syllables (docs/training.md)
set -euo pipefail
voices=$(realpath "${1:?usage: $0 VOICES MODEL_FOLDER}")
out=$(realpath -m "${2:?usage: $0 VOICES MODEL_FOLDER}")
cd "$(dirname "$0")/.."
scripts/install-system-packages.sh render
stemweave=(.venv/bin/python -m stemweave)
metres=(--metres 4/4,4/4,4/4,3/4,6/8)

"${stemweave[@]}" compose data/mask --songs 360 --seed 8200 --voiced --voices "$voices" "${metres[@]}"
"${stemweave[@]}" compose data/mask_crossed --songs 150 --seed 8300 --voiced --crossed --voices "$voices"
"${stemweave[@]}" compose data/mask_riffs --songs 60 --seed 8400 --voiced --riffs --voices "$voices"
"${stemweave[@]}" compose data/mask_validation --songs 24 --seed 778000 --split validation \
  --held-out-grooves --voices "$voices" "${metres[@]}"

begin=()
if [ ! -e runs/mask/checkpoint.pt ]; then
  mkdir -p runs/first
  git archive f16c5c7 stemweave/bundled/refiner | tar -x -C runs/first
  begin=(--init runs/first/stemweave/bundled/refiner)
fi
"${stemweave[@]}" train refiner configs/mask.yaml "${begin[@]}" --run runs/mask
"${stemweave[@]}" assemble configs/mask.yaml "$out" --init stemweave/bundled --overwrite \
  --refiner runs/mask/export
"${stemweave[@]}" compress "$out/refiner" -o "$out/refiner" --overwrite
