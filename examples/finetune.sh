#!/usr/bin/env bash
# The worked example of docs/finetuning.md: three stems (low, beat, chords) from songs that the bundled
# model's training never heard. Prints the scores before and after; needs mma and TimGM6mb only.
#   examples/finetune.sh [WORK_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-out/finetune}
python=${PYTHON:-.venv/bin/python}
stemweave=("$python" -m stemweave)
mkdir -p "$work"

# somebody's songs: 16 to train on, 4 to watch, 6 to score, all played by one SoundFont
compose() { "${stemweave[@]}" compose "$work/music" --soundfont TimGM6mb.sf2 --seed 77 "$@"; }
compose --songs 16
compose --songs 4 --first 16 --split validation
compose --songs 6 --first 20 --split test
"$python" examples/three_stems.py "$work/music" "$work/songs.jsonl"

map=low=bass,beat=drums,chords=piano
"${stemweave[@]}" train denoiser configs/finetune.yaml --init bundled --data "$work/songs.jsonl" \
  --map "$map" --lora 16 --run "$work/denoiser"
"${stemweave[@]}" train refiner configs/finetune.yaml --init bundled --data "$work/songs.jsonl" \
  --map "$map" --run "$work/refiner"

settings=$work/denoiser/settings.yaml
"${stemweave[@]}" assemble "$settings" "$work/before" --overwrite
"${stemweave[@]}" assemble "$settings" "$work/after" --overwrite \
  --denoiser "$work/denoiser/export" --refiner "$work/refiner/export"
for model in before after; do
  "${stemweave[@]}" evaluate separation "$work/songs.jsonl" --split test -n 12 \
    --model "$work/$model" --overwrite -o "$work/scores_$model" >/dev/null
done
"$python" scripts/finetuning_scores.py "$work/scores_before" "$work/scores_after" \
  -o "$work/scores.json"
