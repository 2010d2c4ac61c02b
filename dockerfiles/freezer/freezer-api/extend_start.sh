#!/bin/bash
# kolla_freezer_extend_start of freezer-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    freezer-manage db update
    exit 0
fi
