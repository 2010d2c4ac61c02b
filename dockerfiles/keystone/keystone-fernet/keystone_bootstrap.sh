#!/bin/bash
#
# kolla_keystone_bootstrap USER GROUP
#
# Create the Fernet keys, and print the result in one line of JSON.

set -o nounset

exec /usr/local/lib/kolla/keystone_manage_json '(?s)^(?!.*Key repository is already initialized)' fernet_setup \
    --keystone-user "$1" --keystone-group "$2"
