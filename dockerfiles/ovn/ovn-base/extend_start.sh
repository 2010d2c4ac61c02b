#!/bin/bash
# kolla_extend_start of all images of OVN. Each image has its own kolla_ovn_extend_start. The
# log directory is that of Open vSwitch.

. /usr/local/lib/kolla/extend_start_lib.sh

mkdir -p /run/ovn
kolla_log_dir openvswitch

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ovn_extend_start
