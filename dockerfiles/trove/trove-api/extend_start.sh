#!/bin/bash
# kolla_trove_extend_start of trove-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    trove-manage db_sync
    exit 0
fi
