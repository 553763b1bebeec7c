#!/usr/bin/env bash
# The shipped vocoder from nothing but the bundled autoencoder: composes its songs at 44.1 kHz, trains, and
# puts it into MODEL_FOLDER, a copy of the bundled model if it is new. Goes on where it was stopped.
#   scripts/train_vocoder.sh MODEL_FOLDER
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 MODEL_FOLDER}")
cd "$(dirname "$0")/.."
scripts/install-system-packages.sh render
stemweave=(.venv/bin/python -m stemweave)

"${stemweave[@]}" compose data/vocoder --songs 320 --seed 6400 --sample-rate 44100 --voiced \
  --metres 4/4,4/4,4/4,3/4,6/8
"${stemweave[@]}" compose data/vocoder_validation --songs 32 --seed 776000 --sample-rate 44100 \
  --split validation --held-out-grooves
"${stemweave[@]}" train vocoder configs/vocoder.yaml --vae stemweave/bundled/vae --run runs/vocoder
[ -e "$out" ] || cp -r stemweave/bundled "$out"
# eight bits are enough for large layers: half the size
"${stemweave[@]}" compress runs/vocoder/export -o "$out/vocoder" --overwrite
