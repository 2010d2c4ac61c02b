#!/bin/bash
# kolla_ironic_extend_start of ironic-pxe-filter.

# Remove the leases of an earlier run, and make dnsmasq read the directory again. The process
# is visible here, since both containers use the host's process ids.
rm -f "${IRONIC_DHCP_HOSTS_DIR:-/etc/dnsmasq/dhcp-hostsdir}"/*
if pid=$(cat "${DNSMASQ_PIDFILE:-/run/ironic/dnsmasq.pid}"); then
    kill -HUP "${pid}" || true
fi
