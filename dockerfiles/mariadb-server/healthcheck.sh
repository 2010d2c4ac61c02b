#!/bin/bash
#
# healthcheck.sh [--defaults-file FILE] [--connect] [--galera_online]...
#
# Deployments use the health check of MariaDB's own container image. This script implements
# the checks that they use. It fails if one of them fails.

set -o nounset

options=()
checks=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --defaults-file) options+=("--defaults-file=$2"); shift ;;
        --defaults-file=*) options+=("$1") ;;
        --connect | --galera_online) checks+=("${1#--}") ;;
        *) echo "healthcheck.sh: unknown option $1" >&2; exit 2 ;;
    esac
    shift
done
if [[ ${#checks[@]} -eq 0 ]]; then
    echo "healthcheck.sh: no check requested" >&2
    exit 2
fi

query() {
    # --defaults-file must come first. Without a time limit, checks would pile up if the server
    # accepted connections and did not answer.
    timeout 25 mariadb ${options[@]+"${options[@]}"} --skip-column-names --batch --connect-timeout=5 --execute "$1"
}

for check in "${checks[@]}"; do
    case ${check} in
        connect) result=$(query 'SELECT 1'); expected=1 ;;
        # 4 is "synced".
        galera_online)
            result=$(query "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'WSREP_LOCAL_STATE'")
            expected=4 ;;
    esac
    if [[ ${result} != "${expected}" ]]; then
        echo "healthcheck.sh: ${check} failed: '${result}'" >&2
        exit 1
    fi
done
