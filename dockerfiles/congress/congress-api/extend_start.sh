#!/bin/bash
# kolla_congress_extend_start of congress-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    congress-db-manage --config-file /etc/congress/congress.conf upgrade head
    exit 0
fi
