#!/bin/bash
# kolla_extend_start of haproxy-ssh, to which letsencrypt-lego copies certificates.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_ssh_host_keys

mkdir -p /run/sshd
install -d -o haproxy -g haproxy /var/lib/haproxy/.ssh
install -d -o haproxy -g haproxy -m 0751 /etc/letsencrypt
install -d -o haproxy -g haproxy -m 0755 /etc/letsencrypt/backups
