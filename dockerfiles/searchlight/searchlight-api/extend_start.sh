#!/bin/bash
# kolla_searchlight_extend_start of searchlight-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    searchlight-manage index sync --force
    exit 0
fi
