#!/usr/bin/env bash
# check.sh: use the deployed control plane as its users do. Runs in the node; one line for
# each check, and exit status 1 if any failed.
set -uo pipefail
source /etc/kolla/admin-openrc.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# check NAME COMMAND...: the command must succeed.
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
  remove_leftovers
  head -c 2000000 /dev/urandom >"$work/image"
  openstack image create --file "$work/image" --disk-format raw test-deploy -f value -c status
  local id
  id=$(openstack image list --name test-deploy --status active -f value -c ID | head -n 1)
  openstack image save --file "$work/copy" "$id" && cmp "$work/image" "$work/copy" && openstack image delete "$id"
}
network() {
  local id
  id=$(openstack network create test-deploy -f value -c id) &&
    openstack subnet create --network "$id" --subnet-range 10.50.0.0/24 test-deploy -f value -c cidr &&
    openstack port create --network "$id" test-deploy -f value -c status &&
    openstack port delete test-deploy && openstack network delete "$id"
}
# services_up LIST-COMMAND...: prints the states; every one must be "up" and one must exist.
services_up() {
  "$@" -f value >"$work/services" || return 1
  cat "$work/services"
  [ -s "$work/services" ] && ! grep -viE '(^| )up( |$)' "$work/services"
}
# An instance with a port of its own, without an operating system: QEMU runs its firmware.
instance() {
  local image network status
  remove_leftovers -instance
  head -c 1000000 /dev/zero >"$work/disk"
  image=$(openstack image create --file "$work/disk" --disk-format raw test-deploy-instance -f value -c id) &&
    network=$(openstack network create test-deploy-instance -f value -c id) &&
    openstack subnet create --network "$network" --subnet-range 10.51.0.0/24 test-deploy-instance -f value -c cidr &&
    openstack flavor create --ram 64 --disk 1 --vcpus 1 test-deploy -f value -c name || return 1
  openstack server create --image "$image" --network "$network" --flavor test-deploy --wait test-deploy-instance -f value -c status
  status=$(openstack server show test-deploy-instance -f value -c status)
  openstack server show test-deploy-instance -f value -c fault -c addresses
  openstack server delete --wait test-deploy-instance && openstack flavor delete test-deploy &&
    openstack network delete "$network" && openstack image delete "$image" && echo "$status" && [ "$status" = ACTIVE ]
}
# What an earlier run that failed has left behind.
remove_leftovers() {
  local kind
  for kind in server image network; do
    openstack $kind list --name "test-deploy${1:-}" -f value -c ID | xargs -r openstack $kind delete
  done
  openstack flavor list --all -f value -c Name | grep -x test-deploy | xargs -r openstack flavor delete
}
# Agents report every half minute.
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
stack() { openstack stack list; }
horizon() {
  curl -fsSL -o "$work/login" "$OS_HORIZON/auth/login/" && grep -qi '<title>' "$work/login" || return 1
  local css
  css=$(grep -o '/static/[^"]*\.css' "$work/login" | head -n 1)
  [ -n "$css" ] && curl -fsS -o /dev/null -w '%{size_download} bytes of CSS\n' "$OS_HORIZON$css"
}
# Health checks need their start period.
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
# Every API that uwsgi runs answers at the address in its configuration.
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
# sudo ignores a file of rules with an error or with another owner or mode.
sudo_rules() {
  local name count=0
  for name in $(docker ps --format '{{.Names}}'); do
    docker exec "$name" test -e /usr/sbin/visudo || continue
    docker exec -u root "$name" /usr/sbin/visudo --check --strict || { echo "$name: rules of sudo have an error"; return 1; }
    count=$((count + 1))
  done
  echo "$count containers" && [ "$count" -gt 0 ]
}
# The agents' helpers of networks (dnsmasq, haproxy) are started without a configuration.
configurations() {
  local name count=0
  for name in $(docker ps --format '{{.Names}}' | grep -vE '_(qdhcp|qrouter)-'); do
    docker exec -u root "$name" kolla_set_configs --check || { echo "$name: configuration differs"; return 1; }
    count=$((count + 1))
  done
  echo "$count containers"
}

OS_HORIZON=http://$(awk '/^kolla_internal_vip_address:/ { gsub(/"/, "", $2); print $2 }' /etc/kolla/globals.yml)
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
deployed heat_api && check "stacks listed" stack
deployed horizon && check "dashboard" horizon
check "containers healthy" healthy
check "APIs answer" apis_answer
check "rules of sudo" sudo_rules
check "configurations current" configurations
exit "$failed"
