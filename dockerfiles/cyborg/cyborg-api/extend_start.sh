#!/bin/bash
# kolla_cyborg_extend_start of cyborg-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    cyborg-dbsync upgrade
    exit 0
fi
