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
    shift   # the admin URL, which old deployments pass
fi

# A deployment's keystone.conf logs to a file. What happened is read from the
# log, so it goes to stderr here, in a format that is known.
logging=$(mktemp)
trap 'rm -f "${logging}"' EXIT
cat > "${logging}" <<'CONF'
[DEFAULT]
log_file =
log_dir =
use_stderr = true
use_json = false
use_syslog = false
use_journal = false
logging_context_format_string = [-] %(message)s
logging_default_format_string = [-] %(message)s
CONF
chmod 0644 "${logging}"

export OS_BOOTSTRAP_PASSWORD=${password}
output=$(keystone-manage --config-file /etc/keystone/keystone.conf --config-file "${logging}" bootstrap \
    --bootstrap-username "${user}" \
    --bootstrap-project-name "${project}" \
    --bootstrap-role-name "${role}" \
    --bootstrap-internal-url "$1" \
    --bootstrap-public-url "$2" \
    --bootstrap-service-name keystone \
    --bootstrap-region-id "$3" 2>&1)
status=$?

# Bootstrap logs what it creates; the rest "exists" or is "already" there. It
# reports endpoints and the role on the system as done each time.
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
