#!/bin/bash
# kolla_mistral_extend_start of mistral-api.

if kolla_is_set KOLLA_BOOTSTRAP; then
    mistral-db-manage --config-file /etc/mistral/mistral.conf upgrade head
    mistral-db-manage --config-file /etc/mistral/mistral.conf populate
    exit 0
fi
