#!/bin/bash
# kolla_extend_start of all glance images; kolla_glance_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir glance

# shellcheck source=/dev/null
. /usr/local/bin/kolla_glance_extend_start
