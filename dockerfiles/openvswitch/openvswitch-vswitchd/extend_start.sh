#!/bin/bash
# kolla_openvswitch_extend_start of openvswitch-vswitchd.

kolla_log_file openvswitch/ovs-vswitchd.log openvswitch:openvswitch

# The module may be built into the kernel, and bridges of datapath type netdev do not need it.
if ! modprobe openvswitch; then
    echo "The kernel module openvswitch cannot be loaded." >&2
fi
