#!/bin/bash
# kolla_neutron_extend_start of neutron-sfc-agent.

if kolla_is_set KOLLA_BOOTSTRAP || kolla_is_set KOLLA_UPGRADE; then
    neutron-db-manage --subproject networking-sfc upgrade head
    exit 0
fi
