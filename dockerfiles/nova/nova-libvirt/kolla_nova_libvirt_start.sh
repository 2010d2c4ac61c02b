#!/bin/bash
# kolla_nova_libvirt_start: run libvirtd, and virtlogd, which rotates the console logs of
# virtual machines.

set -o errexit
set -o nounset

/usr/sbin/virtlogd &
exec /usr/sbin/libvirtd --listen
