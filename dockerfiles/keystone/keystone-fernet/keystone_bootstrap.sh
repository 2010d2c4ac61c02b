#!/bin/bash
#
# kolla_keystone_bootstrap USER GROUP
#
# Runs "keystone-manage fernet_setup" and reports in one line of JSON:
# "failed", "changed" and, on failure, "msg".

set -o nounset

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

output=$(keystone-manage --config-file /etc/keystone/keystone.conf --config-file "${logging}" fernet_setup \
    --keystone-user "$1" --keystone-group "$2" 2>&1)
status=$?

STATUS=${status} OUTPUT=${output} python3 - <<'PYTHON'
import json, os, sys
output = os.environ["OUTPUT"]
failed = os.environ["STATUS"] != "0"
result = {"failed": failed,
          "changed": "Key repository is already initialized" not in output}
if failed:
    result["msg"] = output
print(json.dumps(result))
sys.exit(failed)
PYTHON
