#!/bin/bash
#
# start-sb-db-server [OPTION]... runs OVN's southbound database with options of ovn-ctl.

for ctl in /usr/share/ovn/scripts/ovn-ctl /usr/share/openvswitch/scripts/ovn-ctl; do
    if [[ -f ${ctl} ]]; then
        exec "${ctl}" --no-monitor "$@" run_sb_ovsdb
    fi
done
echo "start-sb-db-server: no ovn-ctl in this image" >&2
exit 1
