#!/bin/bash
# kolla_extend_start of all OVN images; kolla_ovn_extend_start is the image's own
# part. Their logs are with those of Open vSwitch.

. /usr/local/lib/kolla/extend_start_lib.sh

mkdir -p /run/ovn
kolla_log_dir openvswitch

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ovn_extend_start
