#!/usr/bin/env bash
# Installs the Debian packages that a step needs and the machine lacks.
#   scripts/install-system-packages.sh test     fluidsynth, a small SoundFont and mma; and what
#                                              browser installs
#   scripts/install-system-packages.sh browser  Chromium, node and the npm package of tests/browser
#   scripts/install-system-packages.sh render   also the SoundFonts and freedoom (training music);
#                                              those from npm go to data/soundfonts, and
#                                              recorded speech to data/spoken
set -euo pipefail

packages=(libfluidsynth3 timgm6mb-soundfont mma)
browser=(chromium)
command -v node >/dev/null || browser+=(nodejs)
command -v npm >/dev/null || browser+=(npm)
case "${1:-test}" in
  test) packages+=("${browser[@]}") ;;
  browser) packages=("${browser[@]}") ;;
  render)
    packages+=(freedoom fluid-soundfont-gm musescore-general-soundfont-lossless
      opl3-soundfont csound-soundfont avldrums.lv2-soundfont minuet-data denemo-data polyphone guitarix-common
      klettres-data asterisk-core-sounds-{en,es,fr,it,ru}-g722)
    command -v npm >/dev/null || packages+=(npm)
    ;;
  *) echo "usage: $0 [test|browser|render]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "please install with your system's package manager: ${missing[*]}" >&2
    exit 2
  fi
  run=()
  [ "$(id -u)" -eq 0 ] || run=(sudo)
  "${run[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing[@]}"
fi

tests=$(dirname "$0")/../tests/browser
if [ "${1:-test}" != render ] && [ ! "$tests/node_modules" -nt "$tests/package-lock.json" ]; then
  npm ci --prefix "$tests" --silent --no-audit --no-fund
  touch "$tests/node_modules"
fi

# Sonivox EAS (Apache-2.0), which Debian lacks, from an npm package that ships it
soundfonts=$(dirname "$0")/../data/soundfonts
if [ "${1:-test}" = render ] && [ ! -e "$soundfonts/sonivox.sf2" ]; then
  mkdir -p "$soundfonts"
  archive=$(cd "$soundfonts" && npm pack --silent @coderline/alphatab@1.8.4)
  tar -xzf "$soundfonts/$archive" -C "$soundfonts" --strip-components 3 \
    package/dist/soundfont/sonivox.sf2
  rm "$soundfonts/$archive"
fi

# instruments recorded note by note, as SoundFonts
if [ "${1:-test}" = render ]; then
  python=$(dirname "$0")/../.venv/bin/python
  [ -x "$python" ] || python=python3
  if ! "$python" -c 'import soundfile, pyworld' 2>/dev/null; then
    echo "install stemweave first (make .venv/.development), then run this again" >&2
    exit 2
  fi
  "$python" "$(dirname "$0")/sampled_instruments.py" "$soundfonts"
  "$python" "$(dirname "$0")/patch_instruments.py" "$soundfonts"
  [ -e "$soundfonts/../spoken/index.json" ] ||
    "$python" "$(dirname "$0")/spoken_voices.py" "$soundfonts/../spoken"
fi
