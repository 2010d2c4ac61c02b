#!/bin/bash
# kolla_placement_extend_start of placement-api.

touch /var/log/kolla/placement/placement-api.log
chmod 644 /var/log/kolla/placement/placement-api.log
chown placement:kolla /var/log/kolla/placement/placement-api.log

if kolla_is_set KOLLA_BOOTSTRAP; then
    placement-manage db sync
    placement-manage db online_data_migrations
    exit 0
fi

# Before the upgrade of the services.
if kolla_is_set KOLLA_UPGRADE; then
    placement-manage db sync
    exit 0
fi

# After the upgrade of the services.
if kolla_is_set KOLLA_OSM; then
    placement-manage db online_data_migrations
    exit 0
fi
