#!/bin/bash
# kolla_sahara_extend_start of sahara-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    sahara-db-manage --config-file /etc/sahara/sahara.conf upgrade head
    exit 0
fi
