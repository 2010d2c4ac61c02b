#!/bin/bash
#
# keystone_manage_json REGEX COMMAND ARGUMENT...
#
# Runs "keystone-manage COMMAND ARGUMENT..." and reports as the deployment expects: one
# line of JSON with "failed", "changed" and, on failure, "msg". "changed" is true if a
# message of the command matches REGEX.

set -o nounset

pattern=$1
shift

# A deployment's keystone.conf logs to a file. What happened is read from the
# messages, so here they go to stderr, in a known format.
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

output=$(keystone-manage --config-file /etc/keystone/keystone.conf --config-file "${logging}" "$@" 2>&1)
status=$?

STATUS=${status} OUTPUT=${output} PATTERN=${pattern} python3 - <<'PYTHON'
import json, os, re, sys
output = os.environ["OUTPUT"]
failed = os.environ["STATUS"] != "0"
result = {"failed": failed, "changed": failed or bool(re.search(os.environ["PATTERN"], output))}
if failed:
    result["msg"] = output
print(json.dumps(result))
sys.exit(failed)
PYTHON
