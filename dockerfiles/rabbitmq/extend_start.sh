#!/bin/bash
# kolla_extend_start of rabbitmq.

: "${RABBITMQ_LOG_DIR:=/var/log/kolla/rabbitmq}"

# The bootstrap gives all nodes of the cluster one cookie.
if [[ -n ${KOLLA_BOOTSTRAP+set} ]]; then
    # It is read-only for its owner, so it cannot be written over.
    rm -f /var/lib/rabbitmq/.erlang.cookie
    echo "${RABBITMQ_CLUSTER_COOKIE}" > /var/lib/rabbitmq/.erlang.cookie
    chmod 400 /var/lib/rabbitmq/.erlang.cookie
    exit 0
fi

mkdir -p "${RABBITMQ_LOG_DIR}"
if [[ $(stat -c %a "${RABBITMQ_LOG_DIR}") != *755 ]]; then
    chmod 755 "${RABBITMQ_LOG_DIR}"
fi
