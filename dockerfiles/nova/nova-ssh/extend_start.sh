#!/bin/bash
# kolla_extend_start of nova-ssh.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_ssh_host_keys

mkdir -p /var/lib/nova/.ssh
chown nova:nova /var/lib/nova/.ssh
