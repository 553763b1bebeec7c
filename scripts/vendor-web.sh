#!/usr/bin/env bash
# Fetches what the studio's page takes from npm into stemweave/web/static/vendor (committed):
#   wavesurfer.js (BSD-3-Clause)   draws the waveforms
#   Instrument Sans (OFL-1.1)     the typeface
set -euo pipefail

wavesurfer=8.0.1
instrument=5.3.0

vendor=$(cd "$(dirname "$0")/../stemweave/web/static/vendor" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unpack() {  # NAME@VERSION → $work/package
  rm -rf "$work/package"
  tar -xzf "$work/$(cd "$work" && npm pack --silent "$1")" -C "$work"
}

unpack "wavesurfer.js@$wavesurfer"
# The page's policy forbids inline <style>. The style sheet of the shadow root becomes a <template>,
# whose text lanes.js adopts as a constructed style sheet.
perl -0pe 's/<style\$\{.*?\}>(?=\\n\s*:host)/<template>/s; s/<\/style>/<\/template>/' \
  "$work/package/dist/wavesurfer.esm.js" >"$vendor/wavesurfer.js"
if grep -q '<style' "$vendor/wavesurfer.js" || ! grep -q '<template>' "$vendor/wavesurfer.js"; then
  echo "wavesurfer.js $wavesurfer writes its style sheet in another way: adapt $0" >&2
  exit 1
fi
cp "$work/package/LICENSE" "$vendor/wavesurfer.LICENSE"

unpack "@fontsource-variable/instrument-sans@$instrument"
for range in latin latin-ext; do
  cp "$work/package/files/instrument-sans-$range-wght-normal.woff2" \
    "$vendor/instrument-sans-$range.woff2"
done
cp "$work/package/LICENSE" "$vendor/instrument-sans.LICENSE"

chmod 644 "$vendor"/*
ls -l "$vendor"
