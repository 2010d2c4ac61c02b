#!/bin/bash
# kolla_extend_start of all magnum images; kolla_magnum_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir magnum

# shellcheck source=/dev/null
. /usr/local/bin/kolla_magnum_extend_start
