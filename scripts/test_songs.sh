#!/usr/bin/env bash
# Makes the songs that scripts/scores.sh and scripts/baselines.sh measure with; what is there stays.
#   VOICES=FOLDER scripts/test_songs.sh    also those with voices, of recorded syllables (docs/training.md)
set -euo pipefail
cd "$(dirname "$0")/.."
stemweave=(.venv/bin/python -m stemweave)

# composed songs: grooves, chords and SoundFont (TimGM6mb) that training never used; at mma's tempo, as
# the committed tables' songs are
"${stemweave[@]}" compose data/validation --songs 64 --seed 1000 --split validation \
  --held-out-grooves --soundfont TimGM6mb.sf2 --mma-tempo
# the same at 44.1 kHz, for the vocoder
"${stemweave[@]}" compose data/full_band --songs 24 --seed 1000 --split validation \
  --held-out-grooves --soundfont TimGM6mb.sf2 --sample-rate 44100
# composed songs in the sounds of training, for generation and analysis
"${stemweave[@]}" compose data/indomain --songs 128 --seed 888000 --split validation \
  --held-out-grooves --metres 4/4,4/4,4/4,4/4,3/4,6/8
# human-written songs, same SoundFont
[ -e data/freedoom4/manifest.jsonl ] || "${stemweave[@]}" freedoom data/freedoom4
if [ -n "${VOICES:-}" ] && [ ! -e data/freedoom_voices/manifest.jsonl ]; then
  "${stemweave[@]}" freedoom data/freedoom_voices --voices "$VOICES" --voices data/spoken
fi
