#!/bin/bash
#
# kolla_keystone_bootstrap USER GROUP
#
# Runs "keystone-manage fernet_setup" and reports in one line of JSON:
# "failed", "changed" and, on failure, "msg".

set -o nounset

output=$(keystone-manage --config-file /etc/keystone/keystone.conf fernet_setup \
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
