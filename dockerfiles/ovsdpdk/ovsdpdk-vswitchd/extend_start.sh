#!/bin/bash
# kolla_ovsdpdk_extend_start of ovsdpdk-vswitchd: virtual machines, which run as
# other users, make their sockets in Open vSwitch's directory.

mkdir -p /run/openvswitch
chmod 777 /run/openvswitch
