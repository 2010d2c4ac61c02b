#!/usr/bin/env bash
# release-image.sh: use kolla-build to build the container image of kolla-build, buildkitd and
# runc, and save it to DIST.
# usage: release-image.sh DIST STAGE
#
# STAGE contains the programs. DATA is the data directory (default: a temporary one), BASE_TAG
# the Debian release (default: trixie).
set -euo pipefail
dist=$1 stage=$2
tree=$(mktemp -d)
data=${DATA:-$tree/data}
trap 'rm -rf "$tree"' EXIT

mkdir "$tree/images"
cp -r packaging/image/kolla-build "$tree/images/"
cp "$stage/kolla-build" "$stage/buildkitd" examples/ci/nightly.sh "$tree/images/kolla-build/"
chmod 755 "$tree/images/kolla-build/"{kolla-build,buildkitd,nightly.sh}
tag=${VERSION//[~+]/-}
common=(--data-dir "$data" --namespace kolla-build --tag "$tag")
"$stage/kolla-build" "${common[@]}" --images-dir "$tree/images" -b debian --base-tag "${BASE_TAG:-trixie}" \
  --buildkitd "$stage/buildkitd" --engine none --format none '^kolla-build$'
"$stage/kolla-build" save "${common[@]}" '^kolla-build$' --output "$dist/kolla-build-$VERSION-image-linux-$(go env GOARCH).tar"
