#!/bin/bash
# kolla_extend_start of rabbitmq.

: "${RABBITMQ_LOG_DIR:=/var/log/kolla/rabbitmq}"

# All nodes of the cluster have the same cookie.
if [[ -n ${KOLLA_BOOTSTRAP+set} ]]; then
    # The file is read-only, so it cannot be overwritten.
    rm -f /var/lib/rabbitmq/.erlang.cookie
    echo "${RABBITMQ_CLUSTER_COOKIE}" > /var/lib/rabbitmq/.erlang.cookie
    chmod 400 /var/lib/rabbitmq/.erlang.cookie
    exit 0
fi

mkdir -p "${RABBITMQ_LOG_DIR}"
if [[ $(stat -c %a "${RABBITMQ_LOG_DIR}") != *755 ]]; then
    chmod 755 "${RABBITMQ_LOG_DIR}"
fi
