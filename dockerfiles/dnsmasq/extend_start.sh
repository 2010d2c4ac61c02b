#!/bin/bash
# kolla_extend_start of dnsmasq, the DHCP server of Ironic. It replaces this shell and keeps
# its process id, which ironic-pxe-filter reads from DNSMASQ_PIDFILE.

. /usr/local/lib/kolla/extend_start_lib.sh

: "${DNSMASQ_PIDFILE:=/run/ironic/dnsmasq.pid}"

kolla_log_dir ironic
kolla_log_file ironic/dnsmasq.log ironic:ironic

mkdir -p "$(dirname "${DNSMASQ_PIDFILE}")"
echo $$ > "${DNSMASQ_PIDFILE}"
