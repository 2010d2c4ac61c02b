#!/bin/bash
# kolla_extend_start of dnsmasq, which serves DHCP for Ironic. Whoever signals it
# finds its pid, which is this shell's, in DNSMASQ_PIDFILE.

. /usr/local/lib/kolla/extend_start_lib.sh

: "${DNSMASQ_PIDFILE:=/run/ironic/dnsmasq.pid}"

kolla_log_dir ironic
kolla_log_file ironic/dnsmasq.log ironic:ironic

mkdir -p "$(dirname "${DNSMASQ_PIDFILE}")"
echo $$ > "${DNSMASQ_PIDFILE}"
