#!/bin/bash
#
# kolla_ensure_haproxy_latest_config: install a changed configuration, reload HAProxy without
# closing connections, and print "changed".

set -o errexit
set -o nounset

if kolla_set_configs --check > /dev/null 2>&1; then
    exit 0
fi
kolla_set_configs 1>&2

# The master process of "haproxy -W" replaces its workers.
if [[ -s /run/haproxy.pid ]]; then
    kill -USR2 "$(head -n 1 /run/haproxy.pid)"
fi
echo changed
