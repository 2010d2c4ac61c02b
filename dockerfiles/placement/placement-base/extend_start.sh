#!/bin/bash
# kolla_extend_start of all placement images; kolla_placement_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir placement placement:kolla
touch /var/log/kolla/placement/placement-api.log
chmod 644 /var/log/kolla/placement/placement-api.log
chown placement:kolla /var/log/kolla/placement/placement-api.log

# shellcheck source=/dev/null
. /usr/local/bin/kolla_placement_extend_start
