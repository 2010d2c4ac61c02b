#!/bin/bash
#
# check_alive.sh runs all checks of the deployment, which are in /checks. Without
# any, the node is alive. It fails if one fails, after it has run them all.

failed=0
for check in /checks/*; do
    if [[ ! -f ${check} ]]; then
        continue
    fi
    # Run by hand, a check explains itself; here it would only fill the log.
    if "${check}" 2> /dev/null; then
        echo "Keepalived check script ${check} succeeded."
    else
        echo "Keepalived check script ${check} failed."
        failed=1
    fi
done
exit "${failed}"
