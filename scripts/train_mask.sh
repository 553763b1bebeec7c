#!/usr/bin/env bash
# Mask network of five stems: composes its songs, trains from an earlier one of four stems, and puts it and its
# sharpener, which stays as it was, into MODEL_FOLDER, a copy of the bundled model if it is new.
# Goes on where it was stopped.
#   scripts/train_mask.sh VOICES RECORDINGS MODEL_FOLDER
#     VOICES, RECORDINGS: folders of recorded syllables and of recorded notes (docs/training.md)
set -euo pipefail
usage="usage: $0 VOICES RECORDINGS MODEL_FOLDER"
voices=$(realpath "${1:?$usage}")
recordings=$(realpath "${2:?$usage}")
out=$(realpath -m "${3:?$usage}")
cd "$(dirname "$0")/.."
scripts/install-system-packages.sh render
stemweave=(.venv/bin/python -m stemweave)

# FM instruments need dexed-py (GPL-3) and hexter's patches
.venv/bin/pip install --quiet dexed-py
[ -e /usr/share/hexter/dx7_roms.dx7 ] || apt-get install -y -qq --no-install-recommends hexter
.venv/bin/python scripts/recorded_instruments.py "$recordings" data/instruments
.venv/bin/python scripts/fm_instruments.py data/instruments

sounds=(--voices "$voices" --voices data/spoken --instruments data/instruments --mastered
  --metres 4/4,4/4,4/4,3/4,6/8)
# more than two crops in five have voices and what else sounds; the others keep the sounds of the four stems apart
"${stemweave[@]}" compose data/mask_crossed --songs 400 --seed 8600 --voiced --crossed \
  --metres 4/4,4/4,4/4,3/4,6/8
"${stemweave[@]}" compose data/mask --songs 440 --seed 8200 --voiced "${sounds[@]}"
"${stemweave[@]}" compose data/mask_validation --songs 20 --seed 778000 --split validation \
  --held-out-grooves "${sounds[@]}"
# to choose weights by: sounds that neither train nor test
"${stemweave[@]}" compose data/unseen_validation --songs 32 --seed 779000 --split validation \
  --held-out-grooves --soundfont sf_GMbank.sf2

first=runs/first/stemweave/bundled
mkdir -p runs/first
git archive f16c5c7 stemweave/bundled/refiner stemweave/bundled/sharpener | tar -x -C runs/first
begin() { # RUN PART: where to begin, if the run is new
  [ -e "runs/$1/checkpoint.pt" ] || echo --init "$first/$2"
}
# shellcheck disable=SC2046
"${stemweave[@]}" train refiner configs/mask.yaml $(begin mask refiner) --run runs/mask
# shellcheck disable=SC2046
"${stemweave[@]}" train sharpener configs/mask.yaml $(begin mask_sharpener sharpener) --refiner runs/mask/export \
  --run runs/mask_sharpener
[ -e "$out" ] || cp -r stemweave/bundled "$out"
# eight bits are enough for large layers: half the size
"${stemweave[@]}" compress runs/mask/export -o "$out/refiner" --overwrite
rm -rf "$out/sharpener"
cp -r runs/mask_sharpener/export "$out/sharpener"
