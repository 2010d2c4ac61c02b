#!/bin/bash
# kolla_extend_start of ironic-inspector.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ironic-inspector

if kolla_is_set KOLLA_BOOTSTRAP; then
    ironic-inspector-dbsync --config-file /etc/ironic-inspector/inspector.conf upgrade
    exit 0
fi
