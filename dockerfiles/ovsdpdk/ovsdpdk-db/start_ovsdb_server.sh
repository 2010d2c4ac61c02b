#!/bin/bash
#
# start-ovsdb-server ADDRESS [BRIDGE INTERFACE]
#
# Run the database server of Open vSwitch, which listens on ADDRESS. BRIDGE, with INTERFACE, is
# added to the database before the server starts.

set -o errexit
set -o nounset

if [[ $# -ne 1 && $# -ne 3 ]]; then
    echo "usage: start-ovsdb-server ADDRESS [BRIDGE INTERFACE]" >&2
    exit 2
fi

database=/var/lib/openvswitch/conf.db
socket=/run/openvswitch/db.sock

if [[ $# -eq 3 ]]; then
    ovsdb-server "${database}" "--remote=punix:${socket}" \
        --run="ovs-vsctl --no-wait --db=unix:${socket} --may-exist add-br $2 -- --may-exist add-port $2 $3"
fi

exec ovsdb-server "${database}" -vconsole:emer -vsyslog:err -vfile:info \
    "--remote=punix:${socket}" "--remote=ptcp:6640:$1" \
    --log-file=/var/log/kolla/openvswitch/ovsdb-server.log
