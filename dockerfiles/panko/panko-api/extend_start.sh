#!/bin/bash
# kolla_panko_extend_start of panko-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    panko-dbsync
    exit 0
fi
