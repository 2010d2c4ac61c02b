#!/usr/bin/env bash
# test-release-image.sh: run the container image of a release, and build an image in it.
# usage: test-release-image.sh IMAGE.tar WORK
set -euo pipefail
image=$1 work=$2
mkdir -p "$work/ci/tree/hello" "$work/run"
tar -xf "$image" -C "$work/run"

# The base image of the build: the container image's own root file system would do; a
# busybox is smaller.
mkdir -p "$work/base/bin" "$work/base/etc"
cp "$(command -v busybox)" "$work/base/bin/busybox"
for applet in sh cat echo; do ln -sf busybox "$work/base/bin/$applet"; done
echo 'root:x:0:0::/:/bin/sh' >"$work/base/etc/passwd"
tar -C "$work/base" -cf "$work/ci/base.tar" .
printf 'FROM {{ base_image }}:{{ base_distro_tag }}\nRUN echo built in a container > /hello\n' >"$work/ci/tree/hello/Dockerfile.j2"

docker info >/dev/null 2>&1 || { echo "no Docker: the image is not run"; exit 1; }
name=$(docker load -i "$image" | sed -n 's/^Loaded image: //p' | tail -1)
docker run --rm --privileged -v "$work/ci:/work" -v /var/lib/kolla-build "$name" \
  --images-dir tree -b debian --base-image base.tar hello
docker rmi "$name" >/dev/null
