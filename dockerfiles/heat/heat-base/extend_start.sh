#!/bin/bash
# kolla_extend_start of all heat images; kolla_heat_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir heat heat:kolla

# shellcheck source=/dev/null
. /usr/local/bin/kolla_heat_extend_start
