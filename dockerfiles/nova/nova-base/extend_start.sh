#!/bin/bash
# kolla_extend_start of all nova images; kolla_nova_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir nova

# shellcheck source=/dev/null
. /usr/local/bin/kolla_nova_extend_start
