#!/usr/bin/env bash
# test-offline.sh [REGEX...]: lock and fetch the inputs of the set of make quickstart (or of the
# images that match), build it in a network namespace without a route, and compare the digests.
set -euo pipefail
cd "$(dirname "$0")/.."
kolla=$PWD/bin/kolla-build
selection=(--profile quickstart)
if [ $# -gt 0 ]; then selection=("$@"); fi
options=(-b debian -t binary --tag offline --engine none --progress plain)
work=$(mktemp -d "${TMPDIR:-/tmp}/kolla-offline-XXXXXX")
if [ -z "${KEEP:-}" ]; then trap 'rm -rf "$work"' EXIT; fi
unset KOLLA_BUILD_DATA_DIR

here=(--data-dir "${OFFLINE_DATA:-$work/here}")
"$kolla" lock --lock "$work/kolla-build.lock" "${options[@]}" "${here[@]}" "${selection[@]}"
"$kolla" fetch --lock "$work/kolla-build.lock" --output "$work/inputs" "${here[@]}"
unshare --net "$kolla" --offline --inputs "$work/inputs" "${options[@]}" --data-dir "$work/there" \
  --summary-json-file "$work/summary.json" "${selection[@]}" 2>&1 | tee "$work/log"
summary=$(grep '^offline: [0-9]* of [0-9]* ' "$work/log")
read -r _ same _ all _ <<<"$summary"
if [ "$same" != "$all" ]; then
  echo "$((all - same)) of $all images have digests that differ from the lock file's" >&2
  exit 1
fi
echo "all $all images have the same digests as with a network"
