#!/bin/bash
# kolla_nova_extend_start of nova-conductor: migrate the database of its cell.

if kolla_is_set KOLLA_BOOTSTRAP; then
    nova-manage db sync --local_cell
    nova-manage db online_data_migrations
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    nova-manage db sync --local_cell
    exit 0
fi

if kolla_is_set KOLLA_OSM; then
    nova-manage db online_data_migrations
    exit 0
fi
