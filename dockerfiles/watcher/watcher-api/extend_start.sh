#!/bin/bash
# kolla_watcher_extend_start of watcher-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    watcher-db-manage --config-file /etc/watcher/watcher.conf upgrade
    exit 0
fi
