#!/bin/bash
# kolla_magnum_extend_start of magnum-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    magnum-db-manage upgrade
    exit 0
fi
