#!/usr/bin/env bash
# test-airgap.sh: transfer a set to a site without internet, and later a delta, as described in
# docs/air-gap.md. The build side builds the set, signs it and splits it into parts, of which one
# is then lost and one damaged. The site, in its own network namespace, verifies and loads the
# parts, serves them from a registry with TLS, and pulls and runs an image with Podman.
#
#   AIRGAP_IMAGES="REGEX..."    images of the set (default: those of make quickstart)
#   AIRGAP_TREE, AIRGAP_BASE    build the set from this directory of templates, on this OCI layout
#   AIRGAP_RUN, AIRGAP_COMMAND  the image to run, and the command to run in it
#   AIRGAP_DATA=DIR             kolla-build's data directory (default: a temporary one)
#   AIRGAP_KOLLA=FILE           the kolla-build to test (default: bin/kolla-build)
#   KEEP=1                      keep all files
set -euo pipefail
kolla=${AIRGAP_KOLLA:-$(dirname "$(readlink -f "$0")")/../bin/kolla-build}
registry=site.example:4000

# run prints a command as a user would type it, and runs it.
run() {
  echo "$where\$ ${*/#$kolla/kolla-build}" >&2
  "$@"
}

fail() {
  echo "test-airgap: $*" >&2
  exit 1
}

build_images() { # TAG
  local options=(-b debian -t binary --engine none --progress plain --namespace lokolla --tag "$1" --data-dir "$data")
  if [ -n "${AIRGAP_TREE:-}" ]; then
    run "$kolla" "${options[@]}" --images-dir "$work/tree" --base-image "oci:$AIRGAP_BASE"
  else
    local selection=(--profile quickstart)
    if [ -n "${AIRGAP_IMAGES:-}" ]; then read -ra selection <<<"$AIRGAP_IMAGES"; fi
    run "$kolla" "${options[@]}" --template-override "$work/override.j2" "${selection[@]}"
  fi
}

# build_side builds the first set, signs it and saves it in parts.
build_side() {
  where=build
  mkdir -p "$work/media" "$work/keys"
  run openssl genpkey -algorithm ed25519 -out "$work/keys/bundle.key"
  run openssl pkey -in "$work/keys/bundle.key" -pubout -out "$work/keys/bundle.pub"
  if [ -n "${AIRGAP_TREE:-}" ]; then
    cp -r "$AIRGAP_TREE" "$work/tree"
  else
    echo '{% extends parent_template %}' >"$work/override.j2"
  fi
  build_images 2025.1-rc1
  local size
  run "$kolla" --data-dir "$data" save --tag 2025.1-rc1 --output "$work/whole.tar"
  size=$(stat -c %s "$work/whole.tar")
  rm "$work/whole.tar"
  run "$kolla" --data-dir "$data" save --tag 2025.1-rc1 --output "$work/media/set.tar" \
    --split $((size / 12 > 65536 ? size / 12 : 65536)) --parity 20% --sign-key "$work/keys/bundle.key"
}

# damage removes one part and corrupts another.
damage() {
  rm "$work/media/set.tar.002"
  printf 'x' | dd of="$work/media/set.tar.003" bs=1 seek=4000 conv=notrunc status=none
}

# build_side_later changes one image and saves a delta for the site.
build_side_later() {
  where=build
  if [ -n "${AIRGAP_TREE:-}" ]; then
    local leaf
    leaf=$(find "$work/tree" -path "*/$AIRGAP_RUN/Dockerfile.j2")
    sed -i '/block footer/i RUN echo a month later > /etc/june' "$leaf"
  else
    cat >"$work/override.j2" <<END
{% extends parent_template %}
{% block ${AIRGAP_RUN}_footer %}
RUN echo a month later > /etc/june
{% endblock %}
END
  fi
  build_images 2025.1-june
  run "$kolla" --data-dir "$data" save --tag 2025.1-june --since "$work/media/have.json" \
    --output "$work/media/june.tar" --sign-key "$work/keys/bundle.key"
}

# site_network sets up the namespaces of this process: an address, its host name, and private
# /etc and /run.
site_network() {
  ip link set lo up
  ip address add 192.0.2.10/32 dev lo
  mkdir -p "$work/site/etc"
  mount -t tmpfs tmpfs "$work/site/etc"
  mkdir "$work/site/etc/upper" "$work/site/etc/work"
  mount -t overlay overlay -o "lowerdir=/etc,upperdir=$work/site/etc/upper,workdir=$work/site/etc/work" /etc
  mount -t tmpfs tmpfs /run
  echo "192.0.2.10 site.example" >>/etc/hosts
  if timeout 5 bash -c '</dev/tcp/1.1.1.1/443' 2>/dev/null; then fail "the site has a network"; fi
}

start_registry() {
  run "$kolla" registry serve --addr :4000 --anonymous pull --tls-generate --tls-name site.example --dir "$work/site/registry" \
    >"$work/site/registry.log" 2>&1 &
  for _ in $(seq 300); do
    if curl -fs -o /dev/null --cacert "$work/site/registry/tls/ca.crt" https://$registry/v2/ 2>/dev/null; then return; fi
    sleep 0.1
  done
  cat "$work/site/registry.log" >&2
  fail "the registry does not answer"
}

podman_site() {
  local driver=overlay
  if [ "$(stat -f -c %T "$work")" = overlayfs ]; then driver=vfs; fi # overlayfs cannot be stacked here
  podman --root "$work/site/podman" --runroot /run/containers-site --storage-driver $driver --cgroup-manager cgroupfs "$@"
}

# run_image pulls an image and runs AIRGAP_COMMAND in it. Podman's default limits need privileges
# that a container may lack.
run_image() { # TAG
  local image=$registry/kolla/$AIRGAP_RUN:$1
  echo "$where\$ podman pull $image" >&2
  podman_site pull -q "$image" >/dev/null
  echo "$where\$ podman run --rm $image" >&2
  # crun, Podman's default if it is installed, rejects hybrid control groups.
  podman_site --runtime runc run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --entrypoint /bin/sh "$image" -c "$AIRGAP_COMMAND"
}

# site loads the files of a month at the site and runs the image.
site() { # MONTH
  where=site
  trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
  site_network
  start_registry
  run install -D -m 644 "$work/site/registry/tls/ca.crt" /etc/containers/certs.d/$registry/ca.crt
  export KOLLA_BUILD_DATA_DIR=$work/site/data
  local file tag options=(--verify-key "$work/keys/bundle.pub")
  case $1 in
    first) file=$work/media/set.tar tag=2025.1-rc1 ;;
    later) file=$work/media/june.tar tag=2025.1-june ;;
  esac
  local files=("$file"*)
  run "$kolla" verify "${files[@]}" "${options[@]}" | tail -3
  run "$kolla" load "${files[@]}" "${options[@]}" --push --registry localhost:4000 --rename 's|^lokolla/|kolla/|' --tag "$tag=2025.1" --also-tag "${tag#2025.1-}" --replace
  run_image 2025.1 >"$work/output"
  [ "$(run_image "${tag#2025.1-}")" = "$(cat "$work/output")" ] || fail "the two tags name different images"
  run "$kolla" inventory --store >"$work/media/have.json"
}

if [ "${1:-}" = site ]; then
  work=$AIRGAP_WORK
  site "$2"
  exit
fi

[ "$(id -u)" = 0 ] || fail "network namespaces need root"
work=$(mktemp -d "${TMPDIR:-/tmp}/kolla-airgap-XXXXXX")
data=${AIRGAP_DATA:-$work/build}
if [ -z "${KEEP:-}" ]; then trap 'rm -rf "$work"' EXIT; fi
export AIRGAP_WORK=$work AIRGAP_RUN=${AIRGAP_RUN:-memcached} AIRGAP_COMMAND=${AIRGAP_COMMAND:-'cat /etc/debian_version; cat /etc/june 2>/dev/null || true'}
unset KOLLA_BUILD_DATA_DIR KOLLA_BUILD_REGISTRY
export KOLLA_BUILD_ENGINE=none

build_side
damage
unshare --net --mount --pid --fork --mount-proc --kill-child "$0" site first
grep -q 'a month later' "$work/output" && fail "the first set already has the change of the delta"
build_side_later
unshare --net --mount --pid --fork --mount-proc --kill-child "$0" site later
grep -q 'a month later' "$work/output" || fail "the delta changed nothing: $(cat "$work/output")"
total=$(du -cb "$work"/media/set.tar.[0-9]* | tail -1 | cut -f1)
delta=$(stat -c %s "$work/media/june.tar")
echo "test-airgap: passed; the delta has $delta bytes, the remaining parts of the set $total"
