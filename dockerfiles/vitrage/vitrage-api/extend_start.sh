#!/bin/bash
# kolla_vitrage_extend_start of vitrage-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    vitrage-dbsync
    exit 0
fi
