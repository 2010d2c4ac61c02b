#!/bin/bash
# kolla_extend_start of mariadb-server.

. /usr/local/lib/kolla/extend_start_lib.sh

: "${MARIADB_LOG_DIR:=/var/log/kolla/mariadb}"

mkdir -p "${MARIADB_LOG_DIR}"
if [[ $(stat -c %a "${MARIADB_LOG_DIR}") != *755 ]]; then
    chmod 755 "${MARIADB_LOG_DIR}"
fi

# bootstrap_db starts a server without network, sets root's password, makes the installation
# secure, and stops the server.
bootstrap_db() {
    local seconds=${DB_MAX_TIMEOUT:-60}
    mariadbd-safe --wsrep-new-cluster --skip-networking --wsrep-on=OFF \
        --pid-file=/var/lib/mysql/mariadb.pid &
    while [[ ! -f /var/lib/mysql/mariadb.pid ]] ||
            [[ ! -S /var/lib/mysql/mysql.sock && ! -S /var/run/mysqld/mysqld.sock ]]; do
        if [[ ${seconds} -le 0 ]]; then
            echo "MariaDB did not start in time"
            return 1
        fi
        seconds=$((seconds - 1))
        sleep 1
    done

    sudo -E kolla_security_reset

    set +o xtrace
    MYSQL_PWD=${DB_ROOT_PASSWORD} mariadb-admin -u root shutdown
    set -o xtrace
    wait
}

if kolla_is_set KOLLA_BOOTSTRAP; then
    mariadb-install-db 2>&1 | tee -a "${MARIADB_LOG_DIR}/mariadb-bootstrap.log"
    bootstrap_db 2>&1 | tee -a "${MARIADB_LOG_DIR}/mariadb-bootstrap.log"
    exit 0
fi

if kolla_is_set KOLLA_UPGRADE; then
    # mariadb-upgrade treats each directory as a database.
    rm -rf /var/lib/mysql/.pki

    set +o xtrace
    export MYSQL_PWD=${DB_ROOT_PASSWORD}
    set -o xtrace
    mariadb-upgrade --host="${DB_HOST}" --port="${DB_PORT}" --user=root 2>&1 |
        tee -a "${MARIADB_LOG_DIR}/mariadb-upgrade.log"
    exit 0
fi

if kolla_is_set BOOTSTRAP_ARGS; then
    # shellcheck disable=SC2034  # kolla_start adds it to the command
    ARGS="${BOOTSTRAP_ARGS}"
fi
