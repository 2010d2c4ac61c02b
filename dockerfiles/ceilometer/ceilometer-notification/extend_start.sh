#!/bin/bash
# kolla_ceilometer_extend_start of ceilometer-notification.

if kolla_is_set KOLLA_BOOTSTRAP; then
    if [[ ${CEILOMETER_DATABASE_TYPE:-} == gnocchi ]]; then
        # Options may be several words.
        # shellcheck disable=SC2086
        ceilometer-upgrade ${CEILOMETER_UPGRADE_PARAMS:-}
    fi
    sudo chown -R ceilometer: /var/lib/ceilometer/
    exit 0
fi
