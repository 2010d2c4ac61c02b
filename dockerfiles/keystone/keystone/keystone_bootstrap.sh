#!/bin/bash
#
# kolla_keystone_bootstrap USER PASSWORD PROJECT ROLE [ADMIN_URL] INTERNAL_URL
#                          PUBLIC_URL REGION
#
# Runs "keystone-manage bootstrap" and reports as the deployment expects: one
# line of JSON with "failed", "changed" and, on failure, "msg". An empty
# PASSWORD is taken from OS_BOOTSTRAP_PASSWORD, to keep it out of process lists.

set -o nounset

user=$1
password=${2:-${OS_BOOTSTRAP_PASSWORD:-}}
project=$3
role=$4
shift 4
if [[ $# -ge 4 ]]; then
    shift   # the admin URL of deployments of old
fi

export OS_BOOTSTRAP_PASSWORD=${password}
output=$(keystone-manage bootstrap \
    --bootstrap-username "${user}" \
    --bootstrap-project-name "${project}" \
    --bootstrap-role-name "${role}" \
    --bootstrap-internal-url "$1" \
    --bootstrap-public-url "$2" \
    --bootstrap-service-name keystone \
    --bootstrap-region-id "$3" 2>&1)
status=$?

# What bootstrap makes it announces; the rest "exists" or is "already" there.
# Endpoints and the role on the system it reports as done each time.
STATUS=${status} OUTPUT=${output} python3 - <<'PYTHON'
import json, os, re, sys
output = os.environ["OUTPUT"]
failed = os.environ["STATUS"] != "0"
result = {"failed": failed, "changed": failed or bool(
    re.search(r"\] (Created|Reset|Enabled|Granted .* on project) ", output))}
if failed:
    result["msg"] = output
print(json.dumps(result))
sys.exit(failed)
PYTHON
