#!/bin/bash
# kolla_extend_start of all images of redis. The sentinel rewrites its configuration, so it uses a
# copy.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir redis

if [[ -n ${REDIS_CONF:-} && -n ${REDIS_GEN_CONF:-} && ! -e ${REDIS_GEN_CONF} ]]; then
    cp "${REDIS_CONF}" "${REDIS_GEN_CONF}"
fi
