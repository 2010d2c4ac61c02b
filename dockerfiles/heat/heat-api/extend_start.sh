#!/bin/bash
# kolla_heat_extend_start of heat-api. The bootstrap also creates the domain for the users of
# stacks, unless it exists.

if kolla_is_set KOLLA_BOOTSTRAP; then
    heat-manage db_sync

    domains=$(openstack domain list -f value -c Name)
    if ! grep -qx heat_user_domain <<< "${domains}"; then
        openstack domain create heat_user_domain
        set +o xtrace
        openstack user create --domain heat_user_domain heat_domain_admin \
            --password "${HEAT_DOMAIN_ADMIN_PASSWORD}"
        set -o xtrace
        openstack role add --domain heat_user_domain \
            --user-domain heat_user_domain --user heat_domain_admin admin
    fi
    exit 0
fi
