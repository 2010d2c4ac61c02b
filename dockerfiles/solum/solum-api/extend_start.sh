#!/bin/bash
# kolla_solum_extend_start of solum-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    solum-db-manage --config-file /etc/solum/solum.conf upgrade head
    exit 0
fi
