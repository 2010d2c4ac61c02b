#!/bin/bash
#
# ovs_wrapper DAEMON [ARGUMENT]...
#
# Run a daemon of Open vSwitch. When the container is stopped, terminate the daemon with
# ovs-appctl, so that it releases its resources in the kernel and in its database.

set -o nounset

stop() {
    # The name of the control socket has the name of the daemon and its process id.
    ovs-appctl -T1 -t "/run/openvswitch/${name}.${child}.ctl" exit || kill -TERM "${child}"
    wait "${child}"
    exit 0
}
trap stop TERM QUIT INT

name=$(basename "$1")
"$@" &
child=$!
wait "${child}"
