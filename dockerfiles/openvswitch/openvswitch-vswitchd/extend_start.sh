#!/bin/bash
# kolla_openvswitch_extend_start of openvswitch-vswitchd.

kolla_log_file openvswitch/ovs-vswitchd.log openvswitch:openvswitch

# It can be part of the kernel, and bridges of datapath type netdev do without it.
if ! modprobe openvswitch; then
    echo "The kernel module openvswitch cannot be loaded." >&2
fi
