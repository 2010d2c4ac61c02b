#!/bin/bash
#
# kolla_mariadb_backup.sh: back up this server into /backup. BACKUP_TYPE is "full", or
# "incremental" to the last full backup. The deployment's restore expects these file names.

set -o errexit
set -o nounset
set -o pipefail

defaults=/etc/mysql/my.cnf
stream=xbstream
full_name() { echo "mysqlbackup-$1.qp.xbc.xbs.gz"; }
incremental_name() { echo "incremental-$1-mysqlbackup-$2.qp.xbc.xbs.gz"; }

. /usr/local/lib/kolla/mariadb_backup_lib.sh
take_backup
