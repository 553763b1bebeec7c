#!/usr/bin/env bash
# The shipped generator from nothing but the bundled autoencoder, masks and first denoiser: composes its
# songs, trains denoiser, score model and analyser, and puts them into MODEL_FOLDER. Three core-hours with
# bfloat16;
# it goes on where it was stopped.
#   scripts/train_generator.sh MODEL_FOLDER
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 MODEL_FOLDER}")
cd "$(dirname "$0")/.."
scripts/install-system-packages.sh render
stemweave=(.venv/bin/python -m stemweave)
held_out=(--split validation --held-out-grooves)

"${stemweave[@]}" compose data/generator --songs 1000 --seed 3400
"${stemweave[@]}" compose data/generator_metres --songs 120 --seed 5400 --metres 4/4,3/4,3/4,6/8,12/8,5/4
"${stemweave[@]}" compose data/generator_validation --songs 40 --seed 777000 "${held_out[@]}" \
  --metres 4/4,4/4,4/4,4/4,3/4,6/8
"${stemweave[@]}" compose data/scores --songs 180 --seed 9000 --metres 4/4,4/4,3/4,6/8 --scores-only
"${stemweave[@]}" compose data/scores_validation --songs 80 --seed 9900 --held-out-grooves \
  --metres 4/4,4/4,3/4,6/8 --scores-only

# the denoiser that it begins from is the one that was bundled before, which these weights replaced
begin=()
if [ ! -e runs/generator/checkpoint.pt ]; then
  mkdir -p runs/first
  git archive 50bac6a stemweave/bundled/denoiser | tar -x -C runs/first
  begin=(--init runs/first/stemweave/bundled/denoiser)
fi
"${stemweave[@]}" train denoiser configs/generator.yaml --vae stemweave/bundled/vae "${begin[@]}" \
  --run runs/generator
"${stemweave[@]}" train score configs/score.yaml --run runs/score
"${stemweave[@]}" train analyser configs/analyser.yaml --run runs/analyser
[ -e "$out" ] || cp -r stemweave/bundled "$out"
"${stemweave[@]}" assemble configs/generator.yaml "$out" --init "$out" --overwrite \
  --denoiser runs/generator/export --score-model runs/score/export --analyser runs/analyser/export
# eight bits are enough for large layers: half the size
for part in denoiser score_model; do
  "${stemweave[@]}" compress "$out/$part" -o "$out/$part" --overwrite
done
