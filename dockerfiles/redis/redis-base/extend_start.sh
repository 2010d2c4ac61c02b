#!/bin/bash
# kolla_extend_start of all redis images: logs, and the sentinel's own copy of
# its configuration, which it rewrites while it runs.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir redis

if kolla_is_set REDIS_CONF && kolla_is_set REDIS_GEN_CONF && [[ ! -e ${REDIS_GEN_CONF} ]]; then
    cp "${REDIS_CONF}" "${REDIS_GEN_CONF}"
fi
