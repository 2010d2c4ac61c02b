#!/bin/bash
#
# start-sb-db-server [OPTION]... runs the southbound database of OVN with options of ovn-ctl.

for ctl in /usr/share/ovn/scripts/ovn-ctl /usr/share/openvswitch/scripts/ovn-ctl; do
    if [[ -f ${ctl} ]]; then
        exec "${ctl}" --no-monitor "$@" run_sb_ovsdb
    fi
done
echo "start-sb-db-server: ovn-ctl not found" >&2
exit 1
