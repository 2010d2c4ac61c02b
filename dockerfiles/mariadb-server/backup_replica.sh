#!/bin/bash
#
# kolla_mariadb_backup_replica.sh: a backup of a server that serves no clients now, into /backup, as BACKUP_TYPE says:
# "full", or "incremental" to the last full one. Restoring reads the names
# that are given here.

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
    sed -n "s/^$1 *= *//p" "${configuration}" | head -n 1 | tr -d ' "'
}

# query asks again for a minute: the cluster may be choosing.
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
    echo "The database at ${host} does not answer: $1" >&2
    return 1
}

# The address in the configuration leads to the active server, by way of a
# load balancer; any other of the cluster will do.
host=$(setting host)
servers=$(query "SELECT REGEXP_REPLACE(VARIABLE_VALUE, ':[0-9]*', '') FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_incoming_addresses'")
active_name=$(query 'SELECT @@hostname')
active=$(getent hosts "${active_name}" | awk '{print $1; exit}')
replica=
for server in ${servers//,/ }; do
    if [[ ${server} != "${active}" || ${servers} != *,* ]]; then
        replica=${server}
        break
    fi
done
if [[ -z ${replica} ]]; then
    echo "Among the servers ${servers} there is no replica." >&2
    exit 1
fi
sed "s/^\(host *= *\).*/\1${replica}/" "${configuration}" > "${defaults}"

take_backup
