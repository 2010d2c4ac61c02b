#!/bin/bash
# kolla_murano_extend_start of murano-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    murano-db-manage --config-file /etc/murano/murano.conf upgrade
    exit 0
fi
