#!/bin/bash
# kolla_extend_start of all images of ovsdpdk. Each image has its own
# kolla_ovsdpdk_extend_start.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir openvswitch openvswitch:kolla

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ovsdpdk_extend_start
