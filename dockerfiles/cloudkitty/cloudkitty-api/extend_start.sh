#!/bin/bash
# kolla_cloudkitty_extend_start of cloudkitty-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    cloudkitty-dbsync upgrade
    cloudkitty-storage-init
    exit 0
fi
