#!/bin/bash
# kolla_extend_start of all Valkey images: logs, and the sentinel's own copy of
# its configuration, which it rewrites while it runs.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir valkey

if kolla_is_set VALKEY_CONF && kolla_is_set VALKEY_GEN_CONF; then
    cp "${VALKEY_CONF}" "${VALKEY_GEN_CONF}"
fi
