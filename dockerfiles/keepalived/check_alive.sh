#!/bin/bash
#
# check_alive.sh runs all checks of the deployment in /checks, and fails if one of them fails.
# Without checks, it succeeds.

failed=0
for check in /checks/*; do
    if [[ ! -f ${check} ]]; then
        continue
    fi
    # The standard error of checks would fill the log.
    if "${check}" 2> /dev/null; then
        echo "Keepalived check script ${check} succeeded."
    else
        echo "Keepalived check script ${check} failed."
        failed=1
    fi
done
exit "${failed}"
