#!/bin/bash
# kolla_aodh_extend_start of aodh-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    aodh-dbsync
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    aodh-dbsync
    exit 0
fi
