#!/bin/bash
# kolla_extend_start of keystone-fernet: get the keys of the other nodes with the deployment's
# script, if it is mounted.

if [[ -f /usr/bin/fernet-node-sync.sh ]]; then
    /usr/bin/fernet-node-sync.sh
fi

if [[ -d /etc/keystone/fernet-keys ]]; then
    chown keystone:keystone /etc/keystone/fernet-keys
fi
