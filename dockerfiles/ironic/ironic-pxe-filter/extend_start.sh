#!/bin/bash
# kolla_ironic_extend_start of ironic-pxe-filter.

# Leases of an earlier run are void: dnsmasq, whose processes are visible here,
# reads its directory again.
rm -f "${IRONIC_DHCP_HOSTS_DIR:-/etc/dnsmasq/dhcp-hostsdir}"/*
if pid=$(cat "${DNSMASQ_PIDFILE:-/run/ironic/dnsmasq.pid}"); then
    kill -HUP "${pid}" || true
fi
