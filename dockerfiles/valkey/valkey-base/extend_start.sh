#!/bin/bash
# kolla_extend_start of all images of valkey. The sentinel rewrites its configuration, so it uses a
# copy.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir valkey

if [[ -n ${VALKEY_CONF:-} && -n ${VALKEY_GEN_CONF:-} ]]; then
    cp "${VALKEY_CONF}" "${VALKEY_GEN_CONF}"
fi
