#!/bin/bash
# kolla_swift_extend_start of swift-rsyncd.

# The host mounts the disks.
sudo find /srv/node/ -maxdepth 1 -type d -execdir chown swift:swift {} \+
mkdir -p /var/lib/swift/lock
