#!/bin/bash
# kolla_manila_extend_start of manila-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    manila-manage db sync
    exit 0
fi
