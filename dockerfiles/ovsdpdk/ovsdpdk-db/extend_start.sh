#!/bin/bash
# kolla_ovsdpdk_extend_start of ovsdpdk-db: create the database, or convert it to the schema
# of this release.

database=/var/lib/openvswitch/conf.db

mkdir -p /run/openvswitch
if [[ ! -e ${database} ]]; then
    ovsdb-tool create "${database}"
elif [[ $(ovsdb-tool needs-conversion "${database}") == yes ]]; then
    ovsdb-tool convert "${database}"
fi
