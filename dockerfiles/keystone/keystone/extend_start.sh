#!/bin/bash
# kolla_extend_start of keystone: create the log, and migrate the database on request.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir keystone keystone:kolla
touch /var/log/kolla/keystone/keystone.log
chown keystone:keystone /var/log/kolla/keystone/keystone.log

keystone_manage() {
    # Options may be several words.
    # shellcheck disable=SC2086
    sudo -H -u keystone keystone-manage ${EXTRA_KEYSTONE_MANAGE_ARGS:-} "$@"
}

if kolla_is_set KOLLA_UPGRADE; then
    keystone_manage db_sync --expand
    keystone_manage db_sync --migrate
    exit 0
fi

# After the upgrade of all nodes.
if kolla_is_set KOLLA_FINISH_UPGRADE; then
    keystone_manage db_sync --contract
    exit 0
fi

if kolla_is_set KOLLA_BOOTSTRAP; then
    keystone_manage db_sync
    exit 0
fi

# The deployment's script passes ARGS to Apache.
if [[ ${KOLLA_API_SERVER:-} == apache ]]; then
    . kolla_httpd_setup
    # shellcheck disable=SC2034  # kolla_start adds it to the command
    ARGS="-DFOREGROUND"
fi
