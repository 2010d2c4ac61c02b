#!/bin/bash
# kolla_extend_start of keystone-fernet: keys from the other nodes, if the
# deployment has mounted its script for that.

if [[ -f /usr/bin/fernet-node-sync.sh ]]; then
    /usr/bin/fernet-node-sync.sh
fi

if [[ -d /etc/keystone/fernet-keys ]]; then
    chown keystone:keystone /etc/keystone/fernet-keys
fi
