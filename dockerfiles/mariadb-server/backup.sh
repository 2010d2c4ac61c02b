#!/bin/bash
#
# kolla_mariadb_backup.sh: a backup of this server into /backup, as BACKUP_TYPE says:
# "full", or "incremental" to the last full one. Restoring reads the names
# that are given here.

set -o errexit
set -o nounset
set -o pipefail

defaults=/etc/mysql/my.cnf
backup_dir=/backup
cd "${backup_dir}"

full() {
    local date dir
    date=$(date +%d-%m-%Y-%s)
    dir=${backup_dir}/full-${date}
    echo "Taking a full backup"
    mkdir -p "${dir}"
    mariabackup --defaults-file="${defaults}" --backup \
        --stream=xbstream --history="${date}" | gzip > "${dir}/mysqlbackup-${date}.qp.xbc.xbs.gz"
    echo "${dir}/mysqlbackup-${date}.qp.xbc.xbs.gz" > "${backup_dir}/last_full_file"
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
        --stream=xbstream --incremental-basedir="${base}" --history="incr-${now}" |
        gzip > "${dir}/incremental-${now}-mysqlbackup-${date}.qp.xbc.xbs.gz"
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
