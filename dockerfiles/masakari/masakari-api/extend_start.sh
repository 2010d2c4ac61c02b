#!/bin/bash
# kolla_masakari_extend_start of masakari-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    masakari-manage db sync
    exit 0
fi
