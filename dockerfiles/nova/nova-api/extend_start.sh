#!/bin/bash
# kolla_nova_extend_start of nova-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    nova-manage api_db sync
    nova-manage db sync --local_cell
    nova-manage db online_data_migrations
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    nova-manage api_db sync
    nova-manage db sync --local_cell
    exit 0
fi

if kolla_is_set KOLLA_OSM; then
    nova-manage db online_data_migrations
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE_CHECK; then
    # Exit status 1 is a warning, 2 is a failure. The deployment decides.
    status=0
    nova-status upgrade check || status=$?
    exit "${status}"
fi
