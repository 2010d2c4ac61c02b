#!/usr/bin/env bash
# test-release-image.sh: run the container image of a release, and build an image in it.
# usage: test-release-image.sh IMAGE.tar WORK
#
# WORK/tar is the unpacked archive of the release.
set -euo pipefail
image=$1 work=$2
mkdir -p "$work/ci/tree/hello"

# Start a separate Docker daemon, so that no image or container is left in the machine's.
export DOCKER_HOST=unix://$work/docker.sock
dockerd --host "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" \
  --iptables=false --ip6tables=false --bridge=none >"$work/dockerd.log" 2>&1 &
dockerd=$!
stop_dockerd() {
  kill "$dockerd"
  wait "$dockerd" || true
  umount "$work"/docker-exec/netns/* 2>/dev/null || true # dockerd leaves a mount behind
}
trap stop_dockerd EXIT
for _ in $(seq 600); do
  docker version >/dev/null 2>&1 && break
  kill -0 "$dockerd" || { tail "$work/dockerd.log"; exit 1; }
  sleep 0.1
done

# The base image consists of busybox.
mkdir -p "$work/base/bin" "$work/base/etc"
cp "$(command -v busybox)" "$work/base/bin/busybox"
for applet in sh cat echo; do ln -sf busybox "$work/base/bin/$applet"; done
echo 'root:x:0:0::/:/bin/sh' >"$work/base/etc/passwd"
tar -C "$work/base" -cf "$work/ci/base.tar" .
printf 'FROM {{ base_image }}:{{ base_distro_tag }}\nRUN echo built in a container > /hello\n' >"$work/ci/tree/hello/Dockerfile.j2"

kolla-build() { "$work/tar/kolla-build" --data-dir "$work/data" "$@"; }
# Not piped to head: it would close the pipe while load still writes, and pipefail ends the script.
kolla-build load "$image" --engine docker >"$work/loaded"
read -r name <"$work/loaded"
# Without --privileged, which needs capabilities that the containers of a CI system may lack.
docker run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
  --security-opt systempaths=unconfined -v /sys/fs/cgroup:/sys/fs/cgroup --network host -v "$work/ci:/work" "$name" \
  --images-dir tree -b debian --base-image base.tar --summary-json-file summary.json hello
grep -q '"name": "hello"' "$work/ci/summary.json"
docker run --rm "$name" version
