#!/bin/bash
# kolla_ironic_extend_start of ironic-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    ironic-dbsync upgrade
    ironic-dbsync online_data_migrations
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    ironic-dbsync upgrade
    exit 0
fi

if kolla_is_set KOLLA_OSM; then
    ironic-dbsync online_data_migrations
    exit 0
fi
