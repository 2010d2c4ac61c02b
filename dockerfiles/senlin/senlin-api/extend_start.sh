#!/bin/bash
# kolla_senlin_extend_start of senlin-api.

if kolla_is_set KOLLA_BOOTSTRAP || kolla_is_set KOLLA_UPGRADE; then
    senlin-manage db_sync
    exit 0
fi
