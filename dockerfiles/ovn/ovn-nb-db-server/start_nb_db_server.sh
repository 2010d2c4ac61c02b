#!/bin/bash
#
# start-nb-db-server [OPTION]... runs the northbound database of OVN with options of ovn-ctl.

for ctl in /usr/share/ovn/scripts/ovn-ctl /usr/share/openvswitch/scripts/ovn-ctl; do
    if [[ -f ${ctl} ]]; then
        exec "${ctl}" --no-monitor "$@" run_nb_ovsdb
    fi
done
echo "start-nb-db-server: ovn-ctl not found" >&2
exit 1
