#!/usr/bin/env bash
# What a graphics card that is lent for a quarter of an hour should do: run the tests that need one, train the
# generator for MINUTES from its last checkpoint, measure speed and memory. Needs no network; docs/training.md.
#   scripts/gpu_run.sh MINUTES [PACK]
# PACK is made by 'stemweave data latents'; without one nothing is trained. In the environment:
#   PARTS   tests train benchmark: which of them, all by default
#   OUT     what is left: log, figures, weights in pieces; out/gpu
#   RUN     the training's folder, from whose checkpoint it goes on; runs/gpu
#   INIT    weights that a new run begins with; the bundled denoiser
#   LIMIT_S seconds that tests may take, and the benchmark; 240
#   WHEELS  folder of wheels, which are installed into SITE (out/site) if a package is missing; .whl
#   CONFIG, VAE, PYTHON, TESTS, PIECE_BYTES, BENCHMARK_OPTIONS: others than below
# The exit status is the sum of what failed: 1 tests, 2 training, 4 weights, 8 benchmark; 16 nothing could begin.
set -uo pipefail
minutes=${1:?usage: $0 MINUTES [PACK]}
pack=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/.."
parts=${PARTS:-tests train benchmark}
out=${OUT:-out/gpu} run=${RUN:-runs/gpu} wheels=${WHEELS:-.whl}
config=${CONFIG:-configs/gpu.yaml} vae=${VAE:-stemweave/bundled/vae} init=${INIT:-stemweave/bundled/denoiser}
piece_bytes=${PIECE_BYTES:-15M} limit_s=${LIMIT_S:-240}
site=$(realpath -m "${SITE:-out/site}")
export PYTHONUNBUFFERED=1 PYTHONPATH=$site:$PWD${PYTHONPATH:+:$PYTHONPATH}
needed='
import torch, pytest, stemweave.cli.train, stemweave.model, stemweave.training.start
print("torch", torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA")
'

find_python() {  # the first one that has everything, after installing wheels if there are any
  for python in "${PYTHON:-.venv/bin/python}" python3; do
    "$python" -c "$needed" 2>/dev/null && return
  done
  # what the machine has stays: its torch is built for its card
  "$python" -m pip install -q --no-index --no-deps --find-links "$wheels" --target "$site" "$wheels"/*.whl &&
    "$python" -c "$needed"
}

name_version() {  # exports say which version made them, also where only the source is
  mkdir -p "$site/stemweave.dist-info"
  sed -n 's/^version = "\(.*\)"/Metadata-Version: 2.1\nName: stemweave\nVersion: \1/p' pyproject.toml \
    >"$site/stemweave.dist-info/METADATA"
}

part() {  # BIT NAME COMMAND...: a failure counts, and the next part begins all the same
  local bit=$1 name=$2
  shift 2
  echo "== $name, $(date +%T)"
  "$@" && return
  echo "== $name failed"
  status=$((status | bit))
}

train() {
  local begin=()
  [ -e "$run/checkpoint.pt" ] || begin=(--init "$init")
  "$python" -m stemweave train denoiser "$config" --vae "$vae" "${begin[@]}" --data "$pack" --run "$run" \
    --minutes "$minutes"
}

pack_weights() {  # half precision, in pieces; the sums are those of the files that come out again
  cp "$run/log.jsonl" "$out/log.jsonl"
  rm -rf "$run/half" "$out"/weights.*
  "$python" - "$run/export" "$run/half" <<'PYTHON' || return
import sys
from pathlib import Path
from stemweave.checkpoints.part import part_weights, write_part
export, half = map(Path, sys.argv[1:])
write_part(half, {name: tensor.half() for name, tensor in part_weights(export).items()}, like=export)
PYTHON
  (cd "$run" && sha256sum half/*) >"$out/weights.sha256" &&
    tar -C "$run" -c half | split -b "$piece_bytes" - "$out/weights.tar." &&
    echo "join them in that folder: cat weights.tar.?? | tar x && sha256sum -c weights.sha256"
}

main() {
  status=0
  name_version
  find_python || { echo "packages are missing, and $wheels does not have them all"; return 16; }
  [[ $parts == *tests* ]] &&
    part 1 tests timeout "$limit_s" "$python" -m pytest -q -m gpu -p no:cacheprovider "${TESTS:-tests/test_gpu.py}"
  if [[ $parts == *train* && -n $pack ]]; then
    part 2 training train
    part 4 weights pack_weights
  elif [[ $parts == *train* ]]; then
    echo "== no pack is given: nothing is trained"
  fi
  [[ $parts == *benchmark* ]] &&
    part 8 benchmark timeout "$limit_s" "$python" -m scripts.gpu_benchmark -o "$out/benchmark.json" ${BENCHMARK_OPTIONS:-}
  echo "== done, $(date +%T), status $status"
  return $status
}

mkdir -p "$out"
main 2>&1 | tee "$out/log.txt"; exit "${PIPESTATUS[0]}"
