#!/usr/bin/env bash
# Fuzzes the studio's API with schemathesis, on a server of its own on loopback.
#   scripts/fuzz_api.sh [SECONDS] [SCHEMATHESIS OPTIONS]
# Ends with 0 if every answer was as documented and the server logged no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-300}
shift || true
bin=.venv/bin
data=$(mktemp -d)
log=$data/server.log
$bin/python -m stemweave serve --data "$data/studio" --port 0 --max-minutes 0.1 --max-mb 1 \
    --keep-days 1 >"$log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$data"' EXIT
until url=$(grep -o 'http://[0-9.:]*' "$log"); do
    kill -0 $server || { cat "$log"; exit 1; }
    sleep 0.5
done
# not all that is valid by the schema can be accepted: an empty project has nothing to vary
$bin/schemathesis run "$url/openapi.json" --max-time "$seconds" --checks all \
    --exclude-checks positive_data_acceptance --suppress-health-check all \
    --continue-on-failure --request-timeout 30 "$@" || failed=1
if grep -q 'Traceback\|ERROR' "$log"; then
    cat "$log"
    failed=1
fi
exit "${failed:-0}"
