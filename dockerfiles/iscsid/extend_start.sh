#!/bin/bash
# kolla_extend_start of iscsid.

if [[ ! -f /etc/iscsi/initiatorname.iscsi ]]; then
    echo "InitiatorName=$(/sbin/iscsi-iname)" > /etc/iscsi/initiatorname.iscsi
fi
