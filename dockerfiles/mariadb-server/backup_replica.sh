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

backup_dir=/backup
cd "${backup_dir}"

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

full() {
    local date dir
    date=$(date +%d-%m-%Y-%s)
    dir=${backup_dir}/full-${date}
    echo "Taking a full backup"
    mkdir -p "${dir}"
    mariabackup --defaults-file="${defaults}" --backup \
        --stream=mbstream --history="${date}" | gzip > "${dir}/backup-full-${date}.mbs.gz"
    echo "${dir}/backup-full-${date}.mbs.gz" > "${backup_dir}/last_full_file"
}

incremental() {
    local last date now dir base
    if [[ ! -r ${backup_dir}/last_full_file ]]; then
        echo "There is no full backup yet to which this could be an increment." >&2
        exit 1
    fi
    last=$(cat "${backup_dir}/last_full_file")
    date=$(basename "$(dirname "${last}")")
    date=${date#full-}
    now=$(date +%H-%M-%S-%d-%m-%Y)
    dir=${backup_dir}/incr-${now}-since-${date}
    base=$(mktemp -d)
    echo "Taking an incremental backup"
    mkdir -p "${dir}"
    gunzip -c "${last}" | mbstream -x -C "${base}"
    mariabackup --defaults-file="${defaults}" --backup \
        --stream=mbstream --incremental-basedir="${base}" --history="incr-${now}" |
        gzip > "${dir}/backup-incremental-${now}.mbs.gz"
    rm -rf "${base}"
}

case ${BACKUP_TYPE:-} in
    full) full ;;
    incremental) incremental ;;
    *)
        echo "BACKUP_TYPE must be full or incremental." >&2
        exit 1
        ;;
esac
