#!/bin/bash
# kolla_gnocchi_extend_start of gnocchi-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    sudo -H -u gnocchi gnocchi-upgrade --log-file /var/log/kolla/gnocchi/gnocchi-upgrade.log
    exit 0
fi
