#!/bin/bash
#
# kolla_keystone_bootstrap USER PASSWORD PROJECT ROLE [ADMIN_URL] INTERNAL_URL
#                          PUBLIC_URL REGION
#
# Makes the first user, project, role, endpoints and region, and reports in one line of
# JSON. An empty PASSWORD is taken from OS_BOOTSTRAP_PASSWORD, to keep it out of process
# lists.

set -o nounset

user=$1
export OS_BOOTSTRAP_PASSWORD=${2:-${OS_BOOTSTRAP_PASSWORD:-}}
project=$3
role=$4
shift 4
if [[ $# -ge 4 ]]; then
    shift   # the admin URL, which old deployments pass
fi

# Keystone reports endpoints and the role on the system as done each time, so they do not
# count as a change. For all else the message differs when it exists already.
exec /usr/local/lib/kolla/keystone_manage_json '\] (Created|Reset|Enabled|Granted .* on project) ' bootstrap \
    --bootstrap-username "${user}" \
    --bootstrap-project-name "${project}" \
    --bootstrap-role-name "${role}" \
    --bootstrap-internal-url "$1" \
    --bootstrap-public-url "$2" \
    --bootstrap-service-name keystone \
    --bootstrap-region-id "$3"
