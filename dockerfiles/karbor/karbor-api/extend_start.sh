#!/bin/bash
# kolla_karbor_extend_start of karbor-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    karbor-manage db sync
    exit 0
fi
