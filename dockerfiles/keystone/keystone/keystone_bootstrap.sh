#!/bin/bash
#
# kolla_keystone_bootstrap USER PASSWORD PROJECT ROLE [ADMIN_URL] INTERNAL_URL
#                          PUBLIC_URL REGION
#
# Create the first user, project, role, endpoints and region, and print the result in one line
# of JSON. If PASSWORD is empty, OS_BOOTSTRAP_PASSWORD is used, which process lists do not show.

set -o nounset

user=$1
export OS_BOOTSTRAP_PASSWORD=${2:-${OS_BOOTSTRAP_PASSWORD:-}}
project=$3
role=$4
shift 4
if [[ $# -ge 4 ]]; then
    shift   # the admin URL, which old deployments pass
fi

# Keystone prints the same message for endpoints and the role on the system each time, so
# these do not count as a change. The other messages differ if the object exists.
exec /usr/local/lib/kolla/keystone_manage_json '\] (Created|Reset|Enabled|Granted .* on project) ' bootstrap \
    --bootstrap-username "${user}" \
    --bootstrap-project-name "${project}" \
    --bootstrap-role-name "${role}" \
    --bootstrap-internal-url "$1" \
    --bootstrap-public-url "$2" \
    --bootstrap-service-name keystone \
    --bootstrap-region-id "$3"
