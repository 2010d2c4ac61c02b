#!/bin/bash
# kolla_zun_extend_start of zun-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    zun-db-manage upgrade
    exit 0
fi

if [[ -e /etc/apache2/envvars || -e /etc/httpd ]]; then
    # shellcheck source=/dev/null
    . /usr/local/bin/kolla_httpd_setup
fi
