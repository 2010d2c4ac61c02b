#!/usr/bin/env bash
# catalogue.sh: build the images that Debian has packages for, check their contract, and
# record sizes and times in docs/images.tsv, from which docs/images.md is made.
#
#   SUITE=trixie|bookworm   Debian's release
#   ARCH=x86_64|aarch64     the builder may need an emulator for the other one
#   TYPE=binary|source      source: some services from the tarballs of Debian's source packages
#   TYPE=kolla              images of Kolla's own templates, to compare sizes; no contract check
#   KOLLA_CHECKOUT=DIR      checkout of openstack/kolla, for TYPE=kolla
#   SHARD=I/N|ci            a subset of the images: part I of N, in whole families, or the list for CI
#   IMAGES=REGEX            these images instead
#   DATA_DIR=DIR            kolla-build's data directory; images that it already has are not built again
#   MIN_FREE=SIZE           disk space to keep free, instead of kolla-build's default
#   RECORD=no               do not update docs/images.tsv
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${SUITE:-trixie}
arch=${ARCH:-x86_64}
type=${TYPE:-binary}
shard=${SHARD:-1/1}
data=${DATA_DIR:-/var/lib/kolla-build}
if [ "$(id -u)" != 0 ]; then
  echo "catalogue.sh: starting a builder needs root" >&2
  exit 1
fi

# The tables of results are changed by each run, and are not part of what is built.
if [ "${RECORD:-yes}" != no ]; then
  commit=$(git rev-parse --short=8 HEAD)
  [ -z "$(git status --porcelain -- . ':!docs/images.tsv' ':!docs/images.md')" ] || commit+=-modified
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if [ -n "${IMAGES:-}" ]; then
  pattern=$IMAGES
else
  names=$(go run ./internal/catalogue list -suite "$suite" -arch "$arch" -type "$type" -shard "$shard")
  echo "$(wc -l <<<"$names") images of $suite, $type, shard $shard"
  pattern="^($(paste -sd'|' <<<"$names"))\$"
fi

options=(--base debian --base-tag "$suite" --base-arch "$arch" --data-dir "$data" --engine none)
[ -z "${MIN_FREE:-}" ] || options+=(--min-free "$MIN_FREE")
if [ "$type" = kolla ]; then
  go run ./internal/catalogue kolla -checkout "${KOLLA_CHECKOUT:-}" -out "$out/upstream"
  options+=(--images-dir "$out/upstream/kolla/docker" --template-override "$out/upstream/override.j2" --namespace kolla-templates)
else
  options+=(--type "$type")
fi
if [ "$type" = source ]; then
  # The archives come from the package mirror that the host uses, the Python
  # dependencies from Debian's packages.
  # shellcheck disable=SC2016  # apt expands it
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
  go run ./internal/catalogue sources -suite "$suite" -mirror "$mirror" >"$out/sources.conf"
  options+=(--config-file "$out/sources.conf" --template-override examples/without-pypi.j2)
fi

# Images that do not depend on a failed one are still built.
status=0
bin/kolla-build "${options[@]}" --threads "${THREADS:-3}" --package-cache --cache-size "${CACHE_SIZE:-8G}" \
  --progress plain --quiet --logs-dir "$out/logs" --summary-json-file "$out/summary.json" "$pattern" || status=$?
for log in "$out"/logs/*FAILED*.log; do
  [ -e "$log" ] || continue
  echo "--- last lines of $(basename "$log")"
  tail -n 25 "$log"
done

contract=0
python3 - "$out/summary.json" >"$out/references" <<'PY'
import json, sys
for image in json.load(open(sys.argv[1]))["built"]:
    print(image["reference"])
PY
mapfile -t references <"$out/references"
if [ "$type" != kolla ] && [ "${#references[@]}" -gt 0 ]; then
  bin/kolla-build contract --data-dir "$data" --json "${references[@]}" >"$out/contract.json" || contract=$?
  python3 - "$out/contract.json" <<'PY'
import json, sys
images = json.load(open(sys.argv[1]))
for image in images:
    for row in image["rows"]:
        if row["status"] == "failed":
            print(image["image"], row["kind"], row["value"], row.get("detail", ""), sep=": ")
print("contract:", len(images), "images,", sum(i["held"] for i in images), "rows held,", sum(i["failed"] for i in images), "failed")
PY
fi
# Run some APIs under uwsgi, as kolla-ansible does, in images that are removed afterwards.
run=0
apis=$(sed -nE 's,.*/(glance-api|keystone|placement-api):.*,\1,p' "$out/references" | paste -sd'|')
if [ "$type" = binary ] && [ -n "$apis" ]; then
  bin/kolla-build "${options[@]}" --tag run-apis --template-override testdata/run-apis.j2 \
    --progress plain --quiet --logs-dir "$out/run-logs" "^($apis)\$" || run=$?
  [ "$run" = 0 ] || tail -n 25 "$out"/run-logs/*FAILED*.log
  bin/kolla-build remove --data-dir "$data" --tag run-apis . >"$out/removed" || { cat "$out/removed"; run=1; }
  echo "ran under uwsgi: $apis"
fi
if [ "${RECORD:-yes}" != no ] && [ -e "$out/summary.json" ]; then
  contracts=()
  [ ! -s "$out/contract.json" ] || contracts=(-contract "$out/contract.json")
  go run ./internal/catalogue record -commit "$commit" -suite "$suite" -arch "$arch" -type "$type" -summary "$out/summary.json" "${contracts[@]}"
  go run ./internal/catalogue matrix
fi
for code in "$status" "$contract" "$run"; do
  [ "$code" = 0 ] || exit "$code"
done
