#!/usr/bin/env bash
# The shipped mask network of five stems and its sharpener: composes its songs, trains from those of four stems
# that were bundled before, and puts them into MODEL_FOLDER, a copy of the bundled model if it is new.
# Goes on where it was stopped.
#   scripts/train_mask.sh VOICES MODEL_FOLDER    VOICES: a folder of recorded syllables (docs/training.md)
set -euo pipefail
voices=$(realpath "${1:?usage: $0 VOICES MODEL_FOLDER}")
out=$(realpath -m "${2:?usage: $0 VOICES MODEL_FOLDER}")
cd "$(dirname "$0")/.."
scripts/install-system-packages.sh render
stemweave=(.venv/bin/python -m stemweave)
metres=(--metres 4/4,4/4,4/4,3/4,6/8)

"${stemweave[@]}" compose data/mask --songs 120 --seed 8200 --voiced --voices "$voices" "${metres[@]}"
"${stemweave[@]}" compose data/mask_validation --songs 24 --seed 778000 --split validation \
  --held-out-grooves --voices "$voices" "${metres[@]}"

first=runs/first/stemweave/bundled
mkdir -p runs/first
git archive f16c5c7 stemweave/bundled/refiner stemweave/bundled/sharpener | tar -x -C runs/first
begin() { # RUN PART: where to begin, if the run is new
  [ -e "runs/$1/checkpoint.pt" ] || echo --init "$first/$2"
}
# shellcheck disable=SC2046
"${stemweave[@]}" train refiner configs/mask.yaml $(begin mask refiner) --run runs/mask
"${stemweave[@]}" train sharpener configs/mask.yaml $(begin mask_sharpener sharpener) --refiner runs/mask/export \
  --run runs/mask_sharpener
[ -e "$out" ] || cp -r stemweave/bundled "$out"
# eight bits are enough for large layers: half the size
"${stemweave[@]}" compress runs/mask/export -o "$out/refiner" --overwrite
rm -rf "$out/sharpener"
cp -r runs/mask_sharpener/export "$out/sharpener"
