#!/bin/bash
# kolla_extend_start of proxysql.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir proxysql

# A killed container leaves a pid file.
rm -f /var/lib/proxysql/proxysql.pid

kolla_proxysql_config_sync
