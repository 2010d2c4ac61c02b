#!/bin/bash
# kolla_glance_extend_start of glance-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    glance-manage db_sync
    glance-manage db_load_metadefs
    exit 0
fi

# The deployment runs each step on all nodes before the next step.
if kolla_is_set KOLLA_UPGRADE; then
    if kolla_is_set GLANCE_DB_EXPAND; then
        glance-manage db expand
    fi
    if kolla_is_set GLANCE_DB_MIGRATE; then
        glance-manage db migrate
    fi
    if kolla_is_set GLANCE_DB_CONTRACT; then
        glance-manage db contract
    fi
    exit 0
fi
