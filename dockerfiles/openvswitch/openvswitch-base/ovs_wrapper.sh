#!/bin/bash
#
# ovs_wrapper DAEMON [ARGUMENT]...
#
# Runs a daemon of Open vSwitch and ends it by ovs-appctl, so that it releases
# what it holds in the kernel and in its database, when the container is stopped.

set -o nounset

stop() {
    # The daemon's control socket is named after it and its pid.
    ovs-appctl -T1 -t "/run/openvswitch/${name}.${child}.ctl" exit || kill -TERM "${child}"
    wait "${child}"
    exit 0
}
trap stop TERM QUIT INT

name=$(basename "$1")
"$@" &
child=$!
wait "${child}"
