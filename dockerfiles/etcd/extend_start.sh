#!/bin/bash
# kolla_extend_start of etcd. Its data directory is a volume.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir etcd

if [[ $(stat -c %U /var/lib/etcd/) != etcd ]]; then
    sudo chown etcd: /var/lib/etcd/
fi
