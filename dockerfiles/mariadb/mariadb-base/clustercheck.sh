#!/bin/bash
#
# clustercheck: report whether this node of a Galera cluster can serve clients, as an HTTP
# response for a load balancer, and as the exit status for health checks. Environment:
#
#   MYSQL_USERNAME, MYSQL_PASSWORD, MYSQL_HOST, MYSQL_PORT
#   AVAILABLE_WHEN_DONOR=1      the node is available while it sends its data to another one
#   AVAILABLE_WHEN_READONLY=0   the node is not available if it is read-only
#   TIMEOUT                     seconds to wait for the server (10)

set -o nounset

answer() {
    local status=$1 text=$2
    printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s\r\n' \
        "${status}" "$((${#text} + 2))" "${text}"
}

options=(--skip-column-names --batch "--connect-timeout=${TIMEOUT:-10}")
if [[ -n ${MYSQL_USERNAME:-} ]]; then
    options+=("--user=${MYSQL_USERNAME}")
fi
if [[ -n ${MYSQL_HOST:-} ]]; then
    options+=("--host=${MYSQL_HOST}")
fi
if [[ -n ${MYSQL_PORT:-} ]]; then
    options+=("--port=${MYSQL_PORT}")
fi
if [[ -n ${MYSQL_PASSWORD:-} ]]; then
    export MYSQL_PWD=${MYSQL_PASSWORD}
fi

values=$(timeout "${TIMEOUT:-10}" mariadb "${options[@]}" --execute \
    "SHOW GLOBAL STATUS LIKE 'wsrep_local_state'; SHOW GLOBAL VARIABLES LIKE 'read_only'" 2> /dev/null)
state=$(sed -n 's/^wsrep_local_state\t//p' <<< "${values}")
read_only=$(sed -n 's/^read_only\t//p' <<< "${values}")

# 4 is "synced", 2 is "donor".
if [[ ${state} != 4 && ! (${state} == 2 && ${AVAILABLE_WHEN_DONOR:-0} == 1) ]]; then
    answer "503 Service Unavailable" "Galera cluster node is not synced."
    exit 1
fi
if [[ ${read_only} == ON && ${AVAILABLE_WHEN_READONLY:-1} == 0 ]]; then
    answer "503 Service Unavailable" "Galera cluster node is read-only."
    exit 1
fi
answer "200 OK" "Galera cluster node is synced."
