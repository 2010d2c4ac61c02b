#!/usr/bin/env bash
# test-deploy.sh: let an unmodified kolla-ansible deploy a control plane from our images, on a
# node of its own inside this machine. See docs/deploy.md.
#
# usage: test-deploy.sh [STAGE...]     all stages in order without one; each can be repeated
#
#   images    build the images, or take them from SET, a file of kolla-build save
#   root      make the node's root file system: Debian trixie with Docker and Ansible
#   start     start the node, and a registry in it with the images
#   install   install kolla-ansible and its configuration in the node
#   prechecks, deploy, check, again, upgrade
#             let it work, use the result, deploy a second time, upgrade to other images
#   stop      stop the node; its disk stays
#   clean     stop the node and remove everything but the logs and the images that were built
#
#   KOLLA_ANSIBLE=DIR      a checkout of openstack/kolla-ansible
#   DEPLOY_DIR=DIR         where everything is stored (/var/tmp/kolla-build-deploy)
#   SET=FILE, NEXT_SET=FILE   images to deploy and to upgrade to, instead of building them
#   TAGS="keystone …"      deploy and upgrade these services only, one after another; again: these only
#   LOADBALANCER=false     without haproxy and keepalived
#   PORT=14000             port of the registry, inside the node
set -eEuo pipefail
trap 'echo "test-deploy: line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$(dirname "$0")/.."
tree=$PWD
kolla=$tree/bin/kolla-build
dir=${DEPLOY_DIR:-/var/tmp/kolla-build-deploy}
port=${PORT:-14000}
tag=${TAG:-master-debian-trixie}
loadbalancer=${LOADBALANCER:-true}
address=10.9.0.10
vip=$address
[ "$loadbalancer" = false ] || vip=10.9.0.250
read -ra services <<<"${TAGS:-common cron loadbalancer mariadb memcached rabbitmq keystone glance placement nova openvswitch neutron heat horizon}"
images='^(cron|kolla-toolbox|haproxy|haproxy-ssh|keepalived|mariadb-server|rabbitmq|memcached|keystone(-fernet|-ssh)?|glance-api|placement-api|nova-(api|conductor|scheduler|novncproxy|compute|libvirt|ssh)|openvswitch-(db-server|vswitchd)|neutron-(server|dhcp-agent|l3-agent|metadata-agent|openvswitch-agent)|heat-(api|api-cfn|engine)|horizon|httpd)$'

fail() { echo "test-deploy: $*" >&2; exit 1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
[ "$(id -u)" = 0 ] || fail "the node needs root"
mkdir -p "$dir"/{data,shared,docker,logs}

# The process id of the node's systemd, a child of what runs node.sh.
node_pid() {
  local parent
  parent=$(cat "$dir/node.pid" 2>/dev/null) && ps -o pid= --ppid "$parent" 2>/dev/null | tr -d ' ' | grep .
}
# inside COMMAND...: run a command in the node.
inside() {
  local pid
  pid=$(node_pid) || fail "the node is not running: test-deploy.sh start"
  nsenter --target "$pid" --mount --pid --net --uts --ipc --cgroup --root --wd -- \
    env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# take FILE NAME: make a file of kolla-build save available in the node, without a copy if possible.
take() {
  [ "$1" -ef "$dir/shared/$2" ] || ln -f "$1" "$dir/shared/$2" 2>/dev/null || cp --reflink=auto "$1" "$dir/shared/$2"
}

stage_images() {
  if [ -n "${SET:-}" ]; then
    take "$SET" set.tar
  else
    "$kolla" --base debian --base-tag trixie --type binary --data-dir "$dir/data" --engine none --tag "$tag" "$images" >"$dir/logs/build" 2>&1 ||
      { tail -n 30 "$dir/logs/build"; fail "building images"; }
    "$kolla" save --data-dir "$dir/data" --output "$dir/shared/set.tar" ":$tag\$"
  fi
  "$kolla" load --data-dir "$dir/none" --list-images "$dir/shared/set.tar" >"$dir/shared/names"
  say "$(wc -l <"$dir/shared/names") images"
}

stage_root() {
  [ ! -e "$dir/root/etc/debian_version" ] || return 0
  local packages mirror
  # The package mirror that the host uses, of which mmdebstrap needs the address.
  # shellcheck disable=SC2016  # apt expands it
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
  [ -n "$mirror" ] || fail "no package mirror found in apt's sources: set MIRROR to one that has Debian trixie"
  curl -fsSL -m 60 -o /dev/null "$mirror/dists/trixie/Release" || fail "$mirror/dists/trixie/Release cannot be read: set MIRROR to a mirror that has Debian trixie"
  packages=ansible-core,ansible,systemd,systemd-sysv,dbus,docker.io,docker-cli,runc,iproute2,iptables,curl,ca-certificates,kmod,procps,openssl,sudo,netbase,hostname,openssh-client,iputils-ping,tzdata
  packages+=,python3-docker,python3-dbus,python3-jmespath,python3-hvac,python3-bcrypt,python3-cliff,python3-pbr,python3-oslo.config,python3-oslo.utils,python3-passlib,python3-cryptography,python3-netaddr
  packages+=,python3-openstackclient,python3-heatclient,python3-osc-placement
  # Of Ansible's collections, kolla-ansible uses those of three namespaces. Compiling all Python
  # files takes minutes; those that are used are compiled at their first use.
  # shellcheck disable=SC2016  # mmdebstrap's shell expands it
  mmdebstrap --variant=minbase --aptopt='Apt::Install-Recommends "false"' --include="$packages" \
    --dpkgopt='path-exclude=/usr/lib/python3/dist-packages/ansible_collections/*/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/ansible/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/community/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/containers/*' \
    --essential-hook='chroot "$1" dpkg-divert --quiet --local --rename --add /usr/bin/py3compile; ln -s /bin/true "$1/usr/bin/py3compile"' \
    trixie "$dir/root.new" "$mirror" >"$dir/logs/root" 2>&1 || { tail "$dir/logs/root"; rm -rf --one-file-system "$dir/root.new"; fail "making the root file system, see $dir/logs/root"; }
  mv "$dir/root.new" "$dir/root"
}

# What the node lacks in comparison with a real machine; the images and kolla-ansible are untouched.
prepare_root() {
  local root=$dir/root release module
  mkdir -p "$root/etc/docker" "$root/etc/kolla" "$root/usr/local/sbin"
  printf '{"runtimes": {"node": {"path": "/usr/local/sbin/runc-node"}}, "default-runtime": "node", "storage-driver": "overlay2"}\n' >"$root/etc/docker/daemon.json"
  install -m 755 testdata/deploy/runc-without-resource.py "$root/usr/local/sbin/runc-node"
  echo node >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n%s node\n' "$address" >"$root/etc/hosts"
  # A kernel without modules: what is asked for is built in, or its absence shows in its user.
  if [ ! -e /proc/modules ]; then
    release=$(uname -r)
    mkdir -p "$root/lib/modules/$release"
    for module in ip_vs openvswitch br_netfilter nbd iscsi_tcp vhost_net dm-multipath; do
      echo "kernel/$module.ko"
    done >"$root/lib/modules/$release/modules.builtin"
    : >"$root/etc/modules.loaded"
    find "$root/usr/lib/python3" -path '*community/general/plugins/modules/modprobe.py' -exec sed -i 's,/proc/modules,/etc/modules.loaded,' {} +
  fi
}

stage_start() {
  [ -e "$dir/root/etc/debian_version" ] || fail "no root file system: test-deploy.sh root"
  if ! node_pid >/dev/null; then
    prepare_root
    NODE_ROOT=$dir/root NODE_SHARED=$dir/shared NODE_DOCKER=$dir/docker NODE_ADDRESS=$address \
      setsid testdata/deploy/node.sh >"$dir/logs/node" 2>&1 </dev/null &
    echo $! >"$dir/node.pid"
    for _ in $(seq 120); do
      # inside ends the script if the node is not there yet.
      node_pid >/dev/null && inside docker info >/dev/null 2>&1 && break
      sleep 1
    done
    inside docker info >/dev/null 2>&1 || { tail "$dir/logs/node"; fail "Docker does not answer in the node"; }
  fi
  install -m 755 "$kolla" "$dir/shared/kolla-build"
  inside systemctl is-active -q registry ||
    inside systemd-run -q --unit registry /shared/kolla-build registry serve --addr "localhost:$port" --dir /shared/registry
  for _ in $(seq 60); do
    inside curl -fs -o /dev/null "http://localhost:$port/v2/" && break
    sleep 1
  done
  [ ! -e "$dir/shared/set.tar" ] || load_set /shared/set.tar
}

load_set() {
  inside /shared/kolla-build load "$1" --data-dir /shared/load --push --registry "localhost:$port" >"$dir/logs/load" 2>&1 ||
    { tail "$dir/logs/load"; fail "loading $1 into the registry"; }
}

write_globals() {
  local namespace
  namespace=$(head -n 1 "$dir/shared/names" | awk -F/ '{ print $(NF-1) }')
  sed "s|@VIP@|$vip|; s|@ADDRESS@|$address|; s|@PORT@|$port|; s|@NAMESPACE@|$namespace|; s|@TAG@|$1|; s|@LOADBALANCER@|$loadbalancer|" \
    testdata/deploy/globals.yml >"$dir/root/etc/kolla/globals.yml"
  # Without the kernel's module, Open vSwitch forwards packets itself.
  grep -q '^openvswitch ' /proc/modules 2>/dev/null || [ -e /sys/module/openvswitch ] || modprobe -q openvswitch 2>/dev/null ||
    echo 'ovs_datapath: "netdev"' >>"$dir/root/etc/kolla/globals.yml"
}

stage_install() {
  [ -d "${KOLLA_ANSIBLE:-}" ] || fail "set KOLLA_ANSIBLE to a checkout of openstack/kolla-ansible"
  rm -rf "$dir/shared/kolla-ansible"
  cp -r "$KOLLA_ANSIBLE" "$dir/shared/kolla-ansible"
  cp testdata/deploy/install-kolla-ansible.py "$dir/shared/"
  inside python3 /shared/install-kolla-ansible.py /shared/kolla-ansible "${KOLLA_ANSIBLE_VERSION:-22.0.0}"
  write_globals "$tag"
  inside sh -euc '
    test -e /etc/kolla/passwords.yml || cp /shared/kolla-ansible/etc/kolla/passwords.yml /etc/kolla/passwords.yml
    kolla-genpwd -p /etc/kolla/passwords.yml
    cp /usr/local/share/kolla-ansible/ansible/inventory/all-in-one /etc/kolla/inventory'
}

# ansible NAME ARGUMENT...: run kolla-ansible, keep its output in logs/NAME, show its recap.
ansible() {
  local log=$dir/logs/$1 status=0 started=$SECONDS
  shift
  inside kolla-ansible "$@" -i /etc/kolla/inventory >"$log" 2>&1 || status=$?
  say "kolla-ansible $*: $((SECONDS - started)) s at load $(cut -d' ' -f1 /proc/loadavg), $(grep -E '^localhost +: ' "$log" | tail -n 1 | tr -s ' ')"
  [ "$status" = 0 ] || { grep -nE -A12 '^(fatal|failed): ' "$log" | cut -c1-1500 | tail -n 40; fail "kolla-ansible $1 failed, see $log"; }
}

stage_prechecks() { ansible prechecks prechecks; }

stage_deploy() {
  local service
  for service in "${services[@]}"; do
    ansible "deploy-$service" deploy --tags "$service"
    # kolla-ansible makes the external bridge for the kernel's datapath, whatever ovs_datapath is.
    if [ "$service" = openvswitch ] && grep -q '^ovs_datapath: "netdev"' "$dir/root/etc/kolla/globals.yml"; then
      inside docker exec openvswitch_vswitchd ovs-vsctl set bridge br-ex datapath_type=netdev
    fi
  done
  ansible post-deploy post-deploy
}

stage_check() {
  install -m 755 testdata/deploy/check.sh "$dir/shared/check.sh"
  inside bash /shared/check.sh
}

# Containers that a second deployment replaced or restarted.
stage_again() {
  local before after
  before=$(inside docker ps -a --no-trunc --format '{{.Names}} {{.ID}}' | sort)
  before+=$'\n'$(inside sh -c 'docker inspect --format "{{.Name}} {{.State.StartedAt}}" $(docker ps -aq)' | sort)
  ansible again deploy ${TAGS:+--tags "${TAGS// /,}"}
  after=$(inside docker ps -a --no-trunc --format '{{.Names}} {{.ID}}' | sort)
  after+=$'\n'$(inside sh -c 'docker inspect --format "{{.Name}} {{.State.StartedAt}}" $(docker ps -aq)' | sort)
  # Tasks that report a change although nothing has changed, as some of kolla-ansible's always do.
  awk '/^(TASK|RUNNING HANDLER) / { task = $0; sub(/ \*+$/, "", task) } /^changed: / { print "changed: " task }' "$dir/logs/again" | uniq -c
  diff <(echo "$before") <(echo "$after") || fail "the second deployment replaced or restarted containers"
  say "the second deployment left every container as it was"
}

stage_upgrade() {
  local next=$tag-next
  if [ -n "${NEXT_SET:-}" ]; then
    take "$NEXT_SET" next.tar
  else
    # The next night: everything built again with the newest packages, under another tag.
    "$kolla" --base debian --base-tag trixie --type binary --data-dir "$dir/data" --engine none --tag "$next" "$images" >"$dir/logs/build-next" 2>&1 ||
      { tail -n 30 "$dir/logs/build-next"; fail "building the next images"; }
    "$kolla" save --data-dir "$dir/data" --output "$dir/shared/next.tar" ":$next\$"
  fi
  load_set /shared/next.tar
  next=$("$kolla" load --data-dir "$dir/none" --list-images "$dir/shared/next.tar" | sed -n '1s/.*://p')
  write_globals "$next"
  # An upgrade compares containers with images that must be there: kolla-ansible's manual has pull first.
  ansible pull pull
  local service
  for service in "${services[@]}"; do
    ansible "upgrade-$service" upgrade --tags "$service"
  done
  # The agents' helpers of existing networks (dnsmasq, haproxy) run on until their network is restarted.
  local containers
  containers=$(inside docker ps --format '{{.Names}} {{.Image}}')
  if grep -vE '_(qdhcp|qrouter)-' <<<"$containers" | grep -v ":$next\$"; then
    fail "containers of the earlier images are left"
  fi
  stage_check
}

stage_stop() {
  local pid
  pid=$(node_pid) || return 0
  kill -s KILL "$pid"
  while kill -s 0 "$pid" 2>/dev/null; do sleep 1; done
  rm -f "$dir/node.pid"
}

stage_clean() {
  stage_stop
  rm -rf --one-file-system "${dir:?}"/{root,docker,shared,none}
}

stages=("$@")
[ $# -gt 0 ] || stages=(images root start install prechecks deploy check again upgrade clean)
for stage in "${stages[@]}"; do
  declare -F "stage_$stage" >/dev/null || fail "no stage $stage"
done
for stage in "${stages[@]}"; do
  say "$stage"
  "stage_$stage"
done
