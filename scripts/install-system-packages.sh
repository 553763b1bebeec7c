#!/usr/bin/env bash
# Installs the Debian packages that a step needs and the machine lacks.
#   scripts/install-system-packages.sh test     fluidsynth, a small SoundFont and mma
#   scripts/install-system-packages.sh render   also the SoundFonts and freedoom (training music)
set -euo pipefail

packages=(libfluidsynth3 timgm6mb-soundfont mma)
case "${1:-test}" in
  test) ;;
  render)
    packages+=(freedoom fluid-soundfont-gm musescore-general-soundfont-lossless
      opl3-soundfont avldrums.lv2-soundfont)
    ;;
  *) echo "usage: $0 [test|render]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "please install with your system's package manager: ${missing[*]}" >&2
  exit 2
fi
run=()
[ "$(id -u)" -eq 0 ] || run=(sudo)
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends \
  "${missing[@]}"
