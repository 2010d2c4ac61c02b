#!/bin/bash
# kolla_extend_start of Open vSwitch with DPDK; kolla_ovsdpdk_extend_start is the
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir openvswitch openvswitch:kolla

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ovsdpdk_extend_start
