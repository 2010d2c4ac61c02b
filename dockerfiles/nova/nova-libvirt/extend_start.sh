#!/bin/bash
# kolla_extend_start of nova-libvirt.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir libvirt
touch /var/log/kolla/libvirt/libvirtd.log
chmod 644 /var/log/kolla/libvirt/libvirtd.log
