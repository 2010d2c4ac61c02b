#!/bin/bash
# kolla_blazar_extend_start of blazar-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    blazar-db-manage --config-file /etc/blazar/blazar.conf upgrade head
    exit 0
fi
