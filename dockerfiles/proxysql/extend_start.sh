#!/bin/bash
# kolla_extend_start of proxysql.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir proxysql

# A container that was killed keeps the pid file of its old self.
rm -f /var/lib/proxysql/proxysql.pid

kolla_proxysql_config_sync
