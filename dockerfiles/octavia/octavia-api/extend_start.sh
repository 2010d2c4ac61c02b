#!/bin/bash
# kolla_octavia_extend_start of octavia-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    octavia-db-manage upgrade head
    octavia-db-manage upgrade_persistence
    exit 0
fi
