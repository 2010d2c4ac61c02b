#!/usr/bin/env bash
# test-deploy.sh: deploy a control plane from our images with an unmodified kolla-ansible, in an
# isolated node on this machine, and upgrade it. See docs/deploy.md.
#
# usage: test-deploy.sh [STAGE...]     default: all stages in order; each can be repeated
#
#   images      build the images, or use those in SET, a file that kolla-build save wrote
#   root        make the node's root file system: Debian trixie with Docker and Ansible
#   start       start the node, and a registry in it with the images
#   install     install kolla-ansible and its configuration in the node
#   prechecks   run kolla-ansible's checks of the node
#   deploy      deploy the services
#   check       use the deployed services (see testdata/deploy/check.sh)
#   again       deploy a second time; no container may be replaced or restarted
#   next        build the images of the next night, or use those in NEXT_SET
#   upgrade     upgrade the services to the images of "next"; "check" and "again" follow
#   stop        stop the node; its disk stays
#   clean       stop the node and remove everything except logs and built images
#
# At the end, a table of the stages with their times and results is printed and appended to
# logs/results.md.
#
#   KOLLA_ANSIBLE=DIR           a checkout of openstack/kolla-ansible
#   KOLLA_ANSIBLE_VERSION=N     the version to install it as (22.0.0)
#   DEPLOY_DIR=DIR              directory for all files (/var/tmp/kolla-build-deploy)
#   SET=FILE, NEXT_SET=FILE     images to deploy and to upgrade to, instead of building them
#   IMAGES=REGEX, TAG=TAG       images to build (default: those of all services), and their tag (master-debian-trixie)
#   TAGS="keystone …"           deploy and upgrade these services only
#   LOADBALANCER=false          deploy without haproxy and keepalived
#   PORT=14000                  port of the registry in the node
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
images=${IMAGES:-'^(cron|kolla-toolbox|haproxy|haproxy-ssh|keepalived|mariadb-server|rabbitmq|memcached|keystone(-fernet|-ssh)?|glance-api|placement-api|nova-(api|conductor|scheduler|novncproxy|compute|libvirt|ssh)|openvswitch-(db-server|vswitchd)|neutron-(server|dhcp-agent|l3-agent|metadata-agent|openvswitch-agent)|heat-(api|api-cfn|engine)|horizon|httpd)$'}

fail() { echo "test-deploy: $*" >&2; exit 1; }
say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
[ "$(id -u)" = 0 ] || fail "the node needs root"
mkdir -p "$dir"/{data,shared,docker,logs}

# node_pid: print the process id of the node's systemd, the child of the process in node.pid.
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

# take FILE NAME: make a saved set available in the node, as a hard link or reflink if possible.
take() {
  [ "$1" -ef "$dir/shared/$2" ] || ln -f "$1" "$dir/shared/$2" 2>/dev/null || cp --reflink=auto "$1" "$dir/shared/$2"
}
# build COMMAND OPTION...: build the images with kolla-build's command "build" or "nightly".
build() {
  local log=$dir/logs/$1
  "$kolla" "$@" --base debian --base-tag trixie --type binary --data-dir "$dir/data" --engine none --summary-json-file "$log.json" "$images" >"$log" 2>&1 ||
    { tail -n 30 "$log"; fail "building images, see $log"; }
}
# counts COMMAND: print how many images "build" built with the command, kept, and in what time.
counts() {
  python3 - "$dir/logs/$1.json" <<'PY'
import json, sys
summary = json.load(open(sys.argv[1]))
kept = sum(1 for i in summary["built"] if i.get("unchanged"))
text = f'{len(summary["built"]) - kept} built, {kept} unchanged'
print(text + (f' in {summary["times"]["total"]:.0f} s' if "times" in summary else ""))
PY
}
# names FILE: print the names of a set's images.
names() { "$kolla" load --data-dir "$dir/none" --list-images "$dir/shared/$1"; }
# tag_of FILE: print the tag of a set's images.
tag_of() { names "$1" | sed -n '1s/.*://p'; }
# describe FILE: print the number and size of a set's images.
describe() { echo "$(names "$1" | wc -l) images, $(du -Lh "$dir/shared/$1" | cut -f1)"; }

stage_images() {
  if [ -n "${SET:-}" ]; then
    take "$SET" set.tar
    result="$(describe set.tar), from a file"
  else
    build build --tag "$tag"
    "$kolla" save --data-dir "$dir/data" --output "$dir/shared/set.tar" ":$tag\$"
    result="$(describe set.tar); $(counts build)"
  fi
}

stage_root() {
  [ ! -e "$dir/root/etc/debian_version" ] || { result="exists already"; return 0; }
  local packages mirror
  # mmdebstrap needs the address of a package mirror: use the host's.
  # shellcheck disable=SC2016  # apt expands it
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
  [ -n "$mirror" ] || fail "no package mirror found in apt's sources: set MIRROR to one that has Debian trixie"
  curl -fsSL -m 60 -o /dev/null "$mirror/dists/trixie/Release" || fail "reading $mirror/dists/trixie/Release: set MIRROR to a mirror that has Debian trixie"
  packages=ansible-core,ansible,systemd,systemd-sysv,dbus,docker.io,docker-cli,runc,iproute2,iptables,curl,ca-certificates,kmod,procps,openssl,sudo,netbase,hostname,openssh-client,iputils-ping,tzdata,xz-utils,zstd
  packages+=,python3-docker,python3-dbus,python3-jmespath,python3-hvac,python3-bcrypt,python3-cliff,python3-pbr,python3-oslo.config,python3-oslo.utils,python3-passlib,python3-cryptography,python3-netaddr
  packages+=,python3-openstackclient,python3-heatclient,python3-osc-placement
  rm -rf --one-file-system "$dir/root.new"
  # kolla-ansible uses Ansible's collections of three namespaces only. Compiling all Python files
  # takes minutes, so Python compiles those that it uses at their first import.
  # shellcheck disable=SC2016  # mmdebstrap's shell expands it
  mmdebstrap --variant=minbase --aptopt='Apt::Install-Recommends "false"' --include="$packages" \
    --dpkgopt='path-exclude=/usr/lib/python3/dist-packages/ansible_collections/*/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/ansible/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/community/*' \
    --dpkgopt='path-include=/usr/lib/python3/dist-packages/ansible_collections/containers/*' \
    --essential-hook='chroot "$1" dpkg-divert --quiet --local --rename --add /usr/bin/py3compile; ln -s /bin/true "$1/usr/bin/py3compile"' \
    --customize-hook="chroot \"\$1\" sh <'$tree/testdata/deploy/guest.sh'" \
    trixie "$dir/root.new" "$mirror" >"$dir/logs/root" 2>&1 || { tail "$dir/logs/root"; rm -rf --one-file-system "$dir/root.new"; fail "making the root file system, see $dir/logs/root"; }
  mv "$dir/root.new" "$dir/root"
  result="Debian trixie, $(du -sh "$dir/root" | cut -f1)"
}

# prepare_root compensates for what the node lacks compared with a real machine. The images and
# kolla-ansible are not modified.
prepare_root() {
  local root=$dir/root release module
  mkdir -p "$root/etc/docker" "$root/etc/kolla" "$root/usr/local/sbin"
  printf '{"runtimes": {"node": {"path": "/usr/local/sbin/runc-node"}}, "default-runtime": "node", "storage-driver": "overlay2"}\n' >"$root/etc/docker/daemon.json"
  install -m 755 testdata/deploy/runc-without-resource.py "$root/usr/local/sbin/runc-node"
  echo node >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n%s node\n' "$address" >"$root/etc/hosts"
  # On a kernel without modules, list those that kolla-ansible loads as built in. If one is in
  # fact missing, the service that needs it fails.
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
  local stopped=false
  [ -e "$dir/root/etc/debian_version" ] || fail "no root file system: test-deploy.sh root"
  if ! node_pid >/dev/null; then
    stopped=true
    prepare_root
    NODE_ROOT=$dir/root NODE_SHARED=$dir/shared NODE_DOCKER=$dir/docker NODE_ADDRESS=$address \
      setsid testdata/deploy/node.sh >"$dir/logs/node" 2>&1 </dev/null &
    echo $! >"$dir/node.pid"
    for _ in $(seq 120); do
      # inside would end the script while the node is not running yet.
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
  local sets=0 set
  for set in set.tar next.tar; do
    [ -e "$dir/shared/$set" ] || continue
    load_set "$set"
    sets=$((sets + 1))
  done
  result="node is running, $sets set$([ "$sets" = 1 ] || echo s) in its registry"
  if $stopped && inside docker container inspect mariadb >/dev/null 2>&1; then
    # HAProxy listens on an address that Keepalived adds later (net.ipv4.ip_nonlocal_bind).
    # kolla-ansible writes this to /etc/sysctl.conf, which trixie's systemd does not read.
    inside sh -c 'test ! -e /etc/sysctl.conf || sysctl -q -e -p /etc/sysctl.conf'
    # A Galera cluster all of whose members were stopped does not start by itself.
    ansible recovery mariadb-recovery
    result+="; mariadb-recovery: $recap"
  fi
}

load_set() {
  inside /shared/kolla-build load "/shared/$1" --data-dir /shared/load --push --registry "localhost:$port" --replace >"$dir/logs/load" 2>&1 ||
    { tail "$dir/logs/load"; fail "loading $1 into the registry"; }
  rm -rf "$dir/shared/load"
}

# write_globals FILE: write kolla-ansible's globals.yml for the images of a set.
write_globals() {
  local namespace globals=$dir/root/etc/kolla/globals.yml
  namespace=$(names "$1" | awk -F/ 'NR == 1 { print $(NF-1) }')
  sed "s|@VIP@|$vip|; s|@ADDRESS@|$address|; s|@PORT@|$port|; s|@NAMESPACE@|$namespace|; s|@TAG@|$(tag_of "$1")|; s|@LOADBALANCER@|$loadbalancer|" \
    testdata/deploy/globals.yml >"$globals"
  # Without the kernel module, Open vSwitch forwards packets in user space.
  grep -q '^openvswitch ' /proc/modules 2>/dev/null || [ -e /sys/module/openvswitch ] || modprobe -q openvswitch 2>/dev/null ||
    echo 'ovs_datapath: "netdev"' >>"$globals"
}

stage_install() {
  [ -e "$dir/shared/set.tar" ] || fail "no images: test-deploy.sh images"
  rm -rf "$dir/shared/kolla-ansible"
  cp -r "$KOLLA_ANSIBLE" "$dir/shared/kolla-ansible"
  cp testdata/deploy/install-kolla-ansible.py "$dir/shared/"
  inside python3 /shared/install-kolla-ansible.py /shared/kolla-ansible "${KOLLA_ANSIBLE_VERSION:-22.0.0}"
  write_globals set.tar
  inside sh -euc '
    test -e /etc/kolla/passwords.yml || cp /shared/kolla-ansible/etc/kolla/passwords.yml /etc/kolla/passwords.yml
    kolla-genpwd -p /etc/kolla/passwords.yml
    cp /usr/local/share/kolla-ansible/ansible/inventory/all-in-one /etc/kolla/inventory'
  result="globals.yml for the tag $(tag_of set.tar)"
}

# ansible NAME ARGUMENT...: run kolla-ansible, write its output to logs/NAME, and set recap to its
# counts of tasks.
ansible() {
  local log=$dir/logs/$1 status=0 started=$SECONDS
  shift
  inside kolla-ansible "$@" -i /etc/kolla/inventory >"$log" 2>&1 || status=$?
  recap=$(sed -nE 's/^localhost +: +(ok=[0-9]+) +(changed=[0-9]+) .*(failed=[0-9]+) .*/\1, \2, \3/p' "$log" | tail -n 1)
  say "kolla-ansible $*: $((SECONDS - started)) s at load $(cut -d' ' -f1 /proc/loadavg), $recap"
  [ "$status" = 0 ] || { grep -nE -A12 '^(fatal|failed): ' "$log" | cut -c1-1500 | tail -n 40; fail "kolla-ansible $1 failed, see $log"; }
}
# service_by_service COMMAND: deploy or upgrade each service, and add a row to the table for each.
service_by_service() {
  local service started
  for service in "${services[@]}"; do
    started=$SECONDS
    ansible "$1-$service" "$1" --tags "$service"
    # kolla-ansible creates the external bridge with the kernel's datapath even if ovs_datapath
    # is netdev.
    if [ "$service" = openvswitch ] && grep -q '^ovs_datapath: "netdev"' "$dir/root/etc/kolla/globals.yml"; then
      inside docker exec openvswitch_vswitchd ovs-vsctl set bridge br-ex datapath_type=netdev
    fi
    details+=$(row "– $service" $((SECONDS - started)) "$recap")$'\n'
  done
}

stage_prechecks() {
  ansible prechecks prechecks
  result=$recap
}

stage_deploy() {
  service_by_service deploy
  ansible post-deploy post-deploy
  result="$(inside docker ps -q | wc -l) containers"
}

stage_check() {
  install -m 755 testdata/deploy/check.sh "$dir/shared/check.sh"
  inside bash /shared/check.sh | tee "$stage_log" || fail "$(grep -c ^FAIL "$stage_log") of $(wc -l <"$stage_log") checks failed"
  result="$(wc -l <"$stage_log") checks passed"
}

# containers: list the running containers with their ids and start times. Others may be those of an
# interrupted deployment, which the next one removes.
containers() {
  # shellcheck disable=SC2016  # the node's shell expands it
  inside sh -c 'docker inspect --format "{{.Name}} {{.Id}} {{.State.StartedAt}}" $(docker ps -q)' | sort
}
# container_images: list the running containers with the ids of their images.
container_images() {
  # shellcheck disable=SC2016  # the node's shell expands it
  inside sh -c 'docker inspect --format "{{.Name}} {{.Image}}" $(docker ps -q)' | sort
}

stage_again() {
  local before after
  before=$(containers)
  ansible "${stage_log##*/}" deploy ${TAGS:+--tags "${TAGS// /,}"}
  after=$(containers)
  # Print the tasks that reported a change. Some of kolla-ansible's always do, so they are no failure.
  awk '/^(TASK|RUNNING HANDLER) / { task = $0; sub(/ \*+$/, "", task) } /^changed: / { print "changed: " task }' "$stage_log" | uniq -c
  diff <(echo "$before") <(echo "$after") || fail "the second deployment replaced or restarted containers"
  result="$recap; none of $(wc -l <<<"$after") containers was replaced or restarted"
}

# The set of the next night has another layer in Keystone's images, and a new label in all images.
stage_next() {
  if [ -n "${NEXT_SET:-}" ]; then
    take "$NEXT_SET" next.tar
    result="$(describe next.tar), from a file"
  else
    local next
    next=$tag-$(date +%F)
    build nightly --nopush --tag "$next" --template-override testdata/deploy/next-night.j2
    "$kolla" save --data-dir "$dir/data" --output "$dir/shared/next.tar" ":$next\$"
    result="$(describe next.tar); $(counts nightly)"
  fi
}

stage_upgrade() {
  local next before after old
  [ -e "$dir/shared/next.tar" ] || fail "no images to upgrade to: test-deploy.sh next"
  next=$(tag_of next.tar)
  install -m 755 testdata/deploy/check.sh "$dir/shared/check.sh"
  inside bash /shared/check.sh keep | tee "$dir/logs/keep" || fail "creating what the upgrade must keep"
  before=$(container_images)
  load_set next.tar
  write_globals next.tar
  # As in kolla-ansible's manual: an upgrade compares containers with images that must have been
  # pulled.
  local started=$SECONDS
  ansible pull pull
  details+=$(row "– pull" $((SECONDS - started)) "$recap")$'\n'
  service_by_service upgrade
  # The agents' helper containers of existing networks (dnsmasq, haproxy) keep their image until
  # their network is restarted.
  old=$(inside docker ps --format '{{.Names}} {{.Image}}' | grep -vE '_(qdhcp|qrouter)-' | grep -v ":$next\$" || true)
  [ -z "$old" ] || fail "containers that still run earlier images: $old"
  after=$(container_images)
  result="to $next; $(comm -13 <(echo "$before") <(echo "$after") | wc -l) of $(wc -l <<<"$after") containers have another image"
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
[ $# -gt 0 ] || stages=(images root start install prechecks deploy check again next upgrade check again clean)
for stage in "${stages[@]}"; do
  declare -F "stage_$stage" >/dev/null || fail "no stage $stage"
  [ "$stage" != install ] || [ -d "${KOLLA_ANSIBLE:-}" ] || fail "set KOLLA_ANSIBLE to a checkout of openstack/kolla-ansible"
done

# row STAGE SECONDS RESULT: print a row of the table, with the machine's current load.
row() { printf '| %s | %d | %s | %s |\n' "$1" "$2" "$(cut -d' ' -f1 /proc/loadavg)" "$3"; }
table="" stage=""
commit=$(git describe --tags --always --dirty 2>/dev/null || echo "no commit")
finish() {
  [ $? = 0 ] || table+=$(row "$stage" $((SECONDS - stage_started)) "**failed**, see logs")$'\n'$details
  {
    printf '\n%s\n' "$(date +%F), $commit, $(nproc) cores, load balancer: $loadbalancer, $SECONDS s in all"
    printf '\n| stage | seconds | load | result |\n|---|---|---|---|\n%s' "$table"
  } | tee -a "$dir/logs/results.md"
}
declare -A runs=()
for stage in "${stages[@]}"; do
  say "$stage"
  stage_started=$SECONDS result="done" details=""
  # The second run of a stage has its own log: check, check-2.
  runs[$stage]=$((${runs[$stage]:-0} + 1))
  stage_log=$dir/logs/$stage
  [ "${runs[$stage]}" = 1 ] || stage_log+=-${runs[$stage]}
  trap finish EXIT
  "stage_$stage"
  table+=$(row "$stage" $((SECONDS - stage_started)) "$result")$'\n'$details
done
