#!/bin/bash
#
# kolla_mariadb_backup_replica.sh: back up a server that currently serves no clients into
# /backup. BACKUP_TYPE is "full", or "incremental" to the last full backup. The deployment's
# restore expects these file names.

set -o errexit
set -o nounset
set -o pipefail

configuration=/etc/mysql/my.cnf
defaults=$(mktemp)
trap 'rm -f "${defaults}"' EXIT

stream=mbstream
full_name() { echo "backup-full-$1.mbs.gz"; }
incremental_name() { echo "backup-incremental-$1.mbs.gz"; }

. /usr/local/lib/kolla/mariadb_backup_lib.sh

setting() {
    sed -n "s/^$1 *= *//p" "${configuration}" | sed -n '1{s/[ "]//g;p}'
}

# query retries for a minute: the cluster may be electing a new primary component.
query() {
    local answer
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        answer=$(MYSQL_PWD=$(setting password) mariadb \
            --ssl-verify-server-cert="${VERIFY_DB_SERVER_CERT:-FALSE}" \
            -h "${host}" -u "$(setting user)" -s -N -e "$1" || true)
        if [[ -n ${answer} ]]; then
            echo "${answer}"
            return
        fi
        sleep 5
    done
    echo "The database at ${host} did not answer: $1" >&2
    return 1
}

# The host in the configuration is a load balancer, which forwards to the active server. Use
# any other server of the cluster.
host=$(setting host)
servers=$(query "SELECT REGEXP_REPLACE(VARIABLE_VALUE, ':[0-9]*', '') FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_incoming_addresses'")
active_name=$(query 'SELECT @@hostname')
active=$(getent hosts "${active_name}" | awk 'NR == 1 {print $1}')
replica=
for server in ${servers//,/ }; do
    if [[ ${server} != "${active}" || ${servers} != *,* ]]; then
        replica=${server}
        break
    fi
done
if [[ -z ${replica} ]]; then
    echo "No replica found among the servers ${servers}." >&2
    exit 1
fi
sed "s/^\(host *= *\).*/\1${replica}/" "${configuration}" > "${defaults}"

take_backup
