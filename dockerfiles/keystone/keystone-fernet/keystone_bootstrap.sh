#!/bin/bash
#
# kolla_keystone_bootstrap USER GROUP
#
# Makes the fernet keys, and reports in one line of JSON.

set -o nounset

exec /usr/local/lib/kolla/keystone_manage_json '(?s)^(?!.*Key repository is already initialized)' fernet_setup \
    --keystone-user "$1" --keystone-group "$2"
