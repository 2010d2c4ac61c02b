#!/bin/bash
# kolla_extend_start of keystone-ssh.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_ssh_host_keys

mkdir -p /var/lib/keystone/.ssh
chown keystone:keystone /var/lib/keystone/.ssh
