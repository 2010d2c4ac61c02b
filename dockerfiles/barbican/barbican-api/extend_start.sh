#!/bin/bash
# kolla_barbican_extend_start of barbican-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    barbican-db-manage upgrade
    exit 0
fi
