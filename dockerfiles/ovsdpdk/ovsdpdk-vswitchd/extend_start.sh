#!/bin/bash
# kolla_ovsdpdk_extend_start of ovsdpdk-vswitchd. Virtual machines, which run as other users,
# create sockets in Open vSwitch's directory.

mkdir -p /run/openvswitch
chmod 777 /run/openvswitch
