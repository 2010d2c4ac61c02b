#!/bin/bash
# kolla_neutron_extend_start of neutron-server. The deployment names plugins that have their
# own database tables.

if kolla_is_set KOLLA_BOOTSTRAP; then
    for service in neutron ${NEUTRON_BOOTSTRAP_SERVICES:-}; do
        neutron-db-manage --subproject "${service}" upgrade head
    done
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    steps=()
    if kolla_is_set NEUTRON_DB_EXPAND; then
        steps=(--expand)
    fi
    if kolla_is_set NEUTRON_DB_CONTRACT; then
        steps=(--contract)
    fi
    for service in neutron ${NEUTRON_ROLLING_UPGRADE_SERVICES:-}; do
        neutron-db-manage --subproject "${service}" upgrade "${steps[@]:-heads}"
    done
    exit 0
fi
