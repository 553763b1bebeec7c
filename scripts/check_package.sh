#!/usr/bin/env bash
# Builds sdist and wheel, installs the wheel alone into a bare environment, and runs it from an empty
# folder outside the checkout.
#   scripts/check_package.sh
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/env"
pip=("$scratch/env/bin/pip" install --quiet --no-compile --disable-pip-version-check -c constraints.txt)
"${pip[@]}" hatchling
"$scratch/env/bin/hatchling" build --directory "$scratch/dist" # the wheel is made of the checkout
tar -tzf "$scratch"/dist/stemweave-*.tar.gz | grep '/stemweave/bundled/.*safetensors$' >/dev/null
"${pip[@]}" torch==2.13.0
"${pip[@]}" "$(echo "$scratch"/dist/stemweave-*.whl)[web]"

mkdir "$scratch/empty"
cd "$scratch/empty"
stemweave=$scratch/env/bin/stemweave
"$stemweave" generate --seconds 3 --steps 2 --seed 1 -o piece
"$stemweave" separate piece/0/mixture.wav -o stems
"$stemweave" serve --help >/dev/null
"$scratch/env/bin/python" - "$root" <<'PYTHON'
import sys
from pathlib import Path

import soundfile

import stemweave

assert not Path(stemweave.__file__).is_relative_to(sys.argv[1]), "this is the checkout's package"
for stem in ("bass", "drums", "guitar", "piano"):
    frames = {soundfile.info(f"{folder}/{stem}.wav").frames for folder in ("piece/0", "stems/mixture")}
    assert len(frames) == 1, (stem, frames)
print(f"stemweave {stemweave.__version__} works from its wheel alone")
PYTHON
