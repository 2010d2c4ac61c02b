#!/bin/bash
# kolla_extend_start of all zun images; kolla_zun_extend_start is the single
# image's own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir zun zun:kolla

# shellcheck source=/dev/null
. /usr/local/bin/kolla_zun_extend_start
