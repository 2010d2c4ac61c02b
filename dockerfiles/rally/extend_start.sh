#!/bin/bash
# kolla_extend_start of rally.

. /usr/local/lib/kolla/extend_start_lib.sh

if kolla_is_set KOLLA_BOOTSTRAP; then
    rally db ensure
    rally db upgrade
    exit 0
fi

kolla_log_dir rally
