#!/bin/bash
# kolla_nova_libvirt_start: libvirtd, with virtlogd beside it, which rotates the
# console logs of virtual machines; else they would fill the disk.

set -o errexit
set -o nounset

/usr/sbin/virtlogd &
exec /usr/sbin/libvirtd --listen
