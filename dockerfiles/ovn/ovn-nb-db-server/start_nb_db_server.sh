#!/bin/bash
#
# start-nb-db-server [OPTION]... runs OVN's northbound database with options of ovn-ctl.

for ctl in /usr/share/ovn/scripts/ovn-ctl /usr/share/openvswitch/scripts/ovn-ctl; do
    if [[ -f ${ctl} ]]; then
        exec "${ctl}" --no-monitor "$@" run_nb_ovsdb
    fi
done
echo "start-nb-db-server: no ovn-ctl in this image" >&2
exit 1
