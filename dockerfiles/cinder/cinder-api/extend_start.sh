#!/bin/bash
# kolla_cinder_extend_start of cinder-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    cinder-manage db sync
    exit 0
fi

if kolla_is_set KOLLA_OSM; then
    cinder-manage db online_data_migrations
    exit 0
fi
