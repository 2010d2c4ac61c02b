#!/bin/bash
# kolla_venus_extend_start of venus-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    venus_manager db sync
    exit 0
fi
