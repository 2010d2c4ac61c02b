#!/bin/bash
#
# Functions of kolla_mariadb_backup.sh and kolla_mariadb_backup_replica.sh, which set:
#   defaults             the option file of the server
#   stream               the stream format of mariabackup
#   full_name DATE, incremental_name NOW DATE
#                        functions that print file names

backup_dir=/backup
cd "${backup_dir}"

full() {
    local date file
    date=$(date +%d-%m-%Y-%s)
    file=${backup_dir}/full-${date}/$(full_name "${date}")
    echo "Taking a full backup"
    mkdir -p "$(dirname "${file}")"
    mariabackup --defaults-file="${defaults}" --backup \
        --stream="${stream}" --history="${date}" | gzip > "${file}"
    echo "${file}" > "${backup_dir}/last_full_file"
}

incremental() {
    local last date now dir base
    if [[ ! -r ${backup_dir}/last_full_file ]]; then
        echo "An incremental backup needs a full backup, and none was found." >&2
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
        --stream="${stream}" --incremental-basedir="${base}" --history="incr-${now}" |
        gzip > "${dir}/$(incremental_name "${now}" "${date}")"
    rm -rf "${base}"
}

take_backup() {
    case ${BACKUP_TYPE:-} in
        full) full ;;
        incremental) incremental ;;
        *)
            echo "BACKUP_TYPE must be full or incremental." >&2
            exit 1
            ;;
    esac
}
