#!/bin/bash
#
# kolla_mariadb_backup.sh: a backup of this server into /backup, as BACKUP_TYPE says:
# "full", or "incremental" to the last full one. Restoring reads the names
# that are given here.

set -o errexit
set -o nounset
set -o pipefail

defaults=/etc/mysql/my.cnf
stream=xbstream
full_name() { echo "mysqlbackup-$1.qp.xbc.xbs.gz"; }
incremental_name() { echo "incremental-$1-mysqlbackup-$2.qp.xbc.xbs.gz"; }

. /usr/local/lib/kolla/mariadb_backup_lib.sh
take_backup
