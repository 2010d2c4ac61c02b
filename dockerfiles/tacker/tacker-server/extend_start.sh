#!/bin/bash
# kolla_tacker_extend_start of tacker-server.

if kolla_is_set KOLLA_BOOTSTRAP; then
    tacker-db-manage --config-file /etc/tacker/tacker.conf upgrade head
    exit 0
fi
