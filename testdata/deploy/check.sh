#!/usr/bin/env bash
# check.sh: use the deployed control plane as its users do. Runs in the node, prints a line for
# each check, and exits with status 1 if any fails.
#
# usage: check.sh         run all checks, and check that what "keep" created has not changed
#        check.sh keep    create what an upgrade must preserve: a token, an image, an instance, a stack
set -uo pipefail
# shellcheck source=/dev/null
source /etc/kolla/admin-openrc.sh
kept=/root/kept
unfinished=/root/check-unfinished
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# check NAME COMMAND...: run a command that must succeed, and print its result.
check() {
  local name=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    printf 'ok    %-28s %s\n' "$name" "$(tail -n 1 "$work/out" | cut -c1-90)"
  else
    printf 'FAIL  %-28s %s\n' "$name" "$(tail -n 3 "$work/out" | tr '\n' ' ' | cut -c1-400)"
    failed=1
  fi
}

deployed() { docker inspect "$1" >/dev/null 2>&1; }
token() { [ -n "$(openstack token issue -f value -c id)" ]; }
image() {
  head -c 2000000 /dev/urandom >"$work/image"
  openstack image create --file "$work/image" --disk-format raw test-deploy -f value -c status
  local id
  id=$(openstack image list --name test-deploy --status active -f value -c ID | sed -n 1p)
  openstack image save --file "$work/copy" "$id" && cmp "$work/image" "$work/copy" && openstack image delete "$id"
}
# network creates a network with a router; the L3 agent must make the router's port active.
network() {
  local network subnet router status
  network=$(openstack network create test-deploy -f value -c id) &&
    subnet=$(openstack subnet create --network "$network" --subnet-range 10.50.0.0/24 test-deploy -f value -c id) &&
    openstack port create --network "$network" test-deploy -f value -c status &&
    router=$(openstack router create test-deploy -f value -c id) &&
    openstack router add subnet "$router" "$subnet" || return 1
  for _ in $(seq 40); do
    status=$(openstack port list --router "$router" -f value -c Status)
    [ "$status" != ACTIVE ] || break
    sleep 3
  done
  openstack router remove subnet "$router" "$subnet" && openstack router delete "$router" &&
    openstack port delete test-deploy && openstack network delete "$network" && echo "port of the router: $status" && [ "$status" = ACTIVE ]
}
# services_up LIST-COMMAND...: print the states of services; there must be one, and all must be "up".
services_up() {
  "$@" -f value >"$work/services" || return 1
  cat "$work/services"
  [ -s "$work/services" ] && ! grep -viE '(^| )up( |$)' "$work/services"
}
# instance starts an instance with the operating system from guest.sh, which must print the address
# that it got from DHCP and its id from the metadata service. With --wait, openstack prints an empty
# line before the id.
instance() {
  local kernel initrd image network server address line=""
  head -c 1000000 /dev/zero >"$work/disk"
  kernel=$(openstack image create --file /root/guest/vmlinuz --disk-format raw test-deploy-instance -f value -c id) &&
    initrd=$(openstack image create --file /root/guest/initrd --disk-format raw test-deploy-instance -f value -c id) &&
    image=$(openstack image create --file "$work/disk" --disk-format raw --property kernel_id="$kernel" --property ramdisk_id="$initrd" test-deploy-instance -f value -c id) &&
    network=$(openstack network create test-deploy-instance -f value -c id) &&
    openstack subnet create --network "$network" --subnet-range 10.51.0.0/24 test-deploy-instance -f value -c cidr &&
    openstack flavor create --ram 256 --disk 1 --vcpus 1 test-deploy -f value -c name || return 1
  if ! server=$(openstack server create --image "$image" --network "$network" --flavor test-deploy --wait test-deploy-instance -f value -c id | grep .); then
    openstack server show test-deploy-instance -f value -c status -c fault
    return 1
  fi
  address=$(openstack server show "$server" -f value -c addresses | grep -oE '10\.51\.0\.[0-9]+')
  # QEMU emulates the processor, so the guest starts slowly.
  for _ in $(seq 60); do
    line=$(openstack console log show "$server" | grep -o 'guest: address .*' | tr -d '\r')
    [ -z "$line" ] || break
    sleep 5
  done
  [ "$line" = "guest: address $address/24, metadata of $server" ] || { openstack console log show --lines 5 "$server"; return 1; }
  openstack server delete --wait "$server" && openstack flavor delete test-deploy &&
    openstack network delete "$network" && openstack image delete "$image" "$initrd" "$kernel" && echo "$line"
}
# remove_leftovers deletes what an earlier, failed run created.
remove_leftovers() {
  local kind ids
  [ -e "$unfinished" ] || return 0
  for kind in server image router port network; do
    mapfile -t ids < <(openstack "$kind" list -f value -c ID -c Name | awk '$2 ~ /^test-deploy/ { print $1 }')
    [ "${#ids[@]}" -gt 0 ] || continue
    case $kind in
      server) openstack server delete --wait "${ids[@]}" ;;
      router) openstack port list --router "${ids[0]}" -f value -c ID | xargs -r -n 1 openstack router remove port "${ids[0]}" && openstack router delete "${ids[@]}" ;;
      *) openstack "$kind" delete "${ids[@]}" ;;
    esac
  done
  openstack flavor list --all -f value -c Name | grep -x test-deploy | xargs -r openstack flavor delete
  openstack stack list -f value -c "Stack Name" | grep -x test-deploy | xargs -r openstack stack delete --yes --wait
}
# Agents report their state every 30 seconds.
agents_up() {
  local agents
  for _ in $(seq 30); do
    agents=$(openstack network agent list -f value -c Alive) || return 1
    if [ -n "$agents" ] && ! grep -qvx True <<<"$agents"; then break; fi
    sleep 5
  done
  [ -n "$agents" ] && ! grep -vx True <<<"$agents" && echo "$(wc -l <<<"$agents") agents"
}
placement() { openstack resource provider list -f value -c name | grep .; }
# The stack needs no resources of other services.
write_stack() {
  printf '%s\n' 'heat_template_version: 2018-08-31' \
    'resources: {random: {type: "OS::Heat::RandomString"}}' \
    'outputs: {random: {value: {get_attr: [random, value]}}}' >"$work/stack.yaml"
}
stack() {
  write_stack
  openstack stack create --wait -t "$work/stack.yaml" test-deploy -f value -c stack_status &&
    openstack stack delete --yes --wait test-deploy
}

# The keep functions create what users have before an upgrade. Each ends by writing a file in $kept,
# so that an incomplete one is repeated.
keep_token() { openstack token issue -f value -c id >"$kept/token"; }
keep_image() {
  head -c 2000000 /dev/urandom >"$kept/image" &&
    openstack image create --file "$kept/image" --disk-format raw kept -f value -c id >"$kept/image.id"
}
keep_instance() {
  local network
  head -c 1000000 /dev/zero >"$work/disk"
  network=$(openstack network create kept -f value -c id) &&
    openstack subnet create --network "$network" --subnet-range 10.52.0.0/24 kept -f value -c cidr &&
    openstack image create --file "$work/disk" --disk-format raw kept-disk -f value -c id >"$work/disk.id" &&
    { openstack flavor show kept -f value -c name || openstack flavor create --ram 64 --disk 1 --vcpus 1 kept -f value -c name; } &&
    openstack server create --image "$(cat "$work/disk.id")" --network "$network" --flavor kept --wait kept -f value -c id | grep . >"$work/id" &&
    instance_state "$(cat "$work/id")" >"$kept/instance" && cat "$kept/instance"
}
keep_stack() {
  write_stack
  { openstack stack show kept -f value -c id || openstack stack create --wait -t "$work/stack.yaml" kept -f value -c id; } &&
    openstack stack output show kept random -f value -c output_value >"$kept/stack"
}
# instance_state ID: print the id of an instance, its status, and the process id of its QEMU.
instance_state() {
  local status name process
  status=$(openstack server show "$1" -f value -c status) &&
    name=$(openstack server show "$1" -f value -c OS-EXT-SRV-ATTR:instance_name) &&
    process=$(pgrep -f "guest=$name,") && echo "$1 $status $process"
}
kept_token() {
  curl -fsS -o /dev/null -H "X-Auth-Token: $(cat "$kept/token")" -H "X-Subject-Token: $(cat "$kept/token")" "${OS_AUTH_URL%/v3}/v3/auth/tokens"
}
kept_image() { openstack image save --file "$work/kept" "$(cat "$kept/image.id")" && cmp "$kept/image" "$work/kept"; }
kept_instance() { instance_state "$(cut -d' ' -f1 "$kept/instance")" >"$work/instance" && diff "$kept/instance" "$work/instance" && cat "$work/instance"; }
kept_stack() { openstack stack output show kept random -f value -c output_value | diff "$kept/stack" -; }
horizon() {
  curl -fsSL -o "$work/login" "$OS_HORIZON/auth/login/" && grep -qi '<title>' "$work/login" || return 1
  local css
  css=$(grep -o '/static/[^"]*\.css' "$work/login" | sed -n 1p)
  [ -n "$css" ] && curl -fsS -o /dev/null -w '%{size_download} bytes of CSS\n' "$OS_HORIZON$css"
}
# healthy waits until no health check is in its start period any longer.
healthy() {
  local states
  for _ in $(seq 60); do
    states=$(docker ps -a --format '{{.Names}} {{.Status}}')
    grep -qE 'health: starting' <<<"$states" || break
    sleep 5
  done
  grep -vE ' Up .*\(healthy\)$| Up [^(]*$' <<<"$states" && return 1
  echo "$(wc -l <<<"$states") containers"
}
# Every API under uwsgi must answer at the address in its configuration.
apis_answer() {
  local file address status count=0
  for file in /etc/kolla/*/*-uwsgi.ini; do
    [ -e "$file" ] || continue
    address=$(sed -nE 's/^https? = ([^,]+).*/\1/p' "$file")
    status=$(curl -s -o /dev/null -w '%{http_code}' -m 60 "http://$address/")
    case $status in
      [234]??) count=$((count + 1)) ;;
      *) echo "$file: status $status of http://$address/"; return 1 ;;
    esac
  done
  echo "$count APIs" && [ "$count" -gt 0 ]
}
# sudo ignores a rules file that has an error, or a wrong owner or mode.
sudo_rules() {
  local name count=0
  for name in $(docker ps --format '{{.Names}}'); do
    docker exec "$name" test -e /usr/sbin/visudo || continue
    docker exec -u root "$name" /usr/sbin/visudo --check --strict || { echo "$name: visudo rejects the sudo rules"; return 1; }
    count=$((count + 1))
  done
  echo "$count containers" && [ "$count" -gt 0 ]
}
# The agents' helper containers (dnsmasq, haproxy) are started without a configuration, so they are
# not checked.
configurations() {
  local name count=0
  for name in $(docker ps --format '{{.Names}}' | grep -vE '_(qdhcp|qrouter)-'); do
    docker exec -u root "$name" kolla_set_configs --check || { echo "$name: configuration differs"; return 1; }
    count=$((count + 1))
  done
  echo "$count containers"
}

OS_HORIZON=http://$(awk '/^kolla_internal_vip_address:/ { gsub(/"/, "", $2); print $2 }' /etc/kolla/globals.yml)
if [ "${1:-}" = keep ]; then
  mkdir -p "$kept"
  deployed keystone && [ ! -s "$kept/token" ] && check "token to keep" keep_token
  deployed glance_api && [ ! -s "$kept/image.id" ] && check "image to keep" keep_image
  deployed nova_compute && deployed neutron_server && [ ! -s "$kept/instance" ] && check "instance to keep" keep_instance
  deployed heat_api && [ ! -s "$kept/stack" ] && check "stack to keep" keep_stack
  exit "$failed"
fi

remove_leftovers >/dev/null 2>&1
touch "$unfinished"
deployed mariadb && check "database" docker exec mariadb /usr/bin/healthcheck.sh --defaults-file /etc/mysql/healthcheck.cnf --connect --galera_online
deployed rabbitmq && check "message queue" docker exec rabbitmq rabbitmqctl list_vhosts
deployed keystone && check "token" token
deployed keystone && check "endpoints" openstack endpoint list -f value
deployed glance_api && check "image created and read" image
deployed placement_api && deployed nova_compute && check "resource provider" placement
deployed nova_api && check "compute services up" services_up openstack compute service list -c State
deployed nova_compute && check "hypervisor up" services_up openstack hypervisor list -c State
deployed neutron_server && check "network created" network
deployed neutron_server && check "network agents up" agents_up
deployed neutron_server && deployed nova_compute && check "instance runs" instance
deployed heat_api && check "stack created" stack
deployed horizon && check "dashboard" horizon
for name in token image instance stack; do
  [ ! -s "$kept/$name" ] || check "kept $name" "kept_$name"
done
check "containers healthy" healthy
check "APIs answer" apis_answer
check "sudo rules" sudo_rules
check "configurations current" configurations
[ "$failed" = 1 ] || rm "$unfinished"
exit "$failed"
