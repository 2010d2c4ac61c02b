#!/bin/bash
# kolla_designate_extend_start of designate-central.

kolla_log_file designate/designate-manage.log designate:kolla

if kolla_is_set KOLLA_BOOTSTRAP; then
    designate-manage database sync
    exit 0
fi
