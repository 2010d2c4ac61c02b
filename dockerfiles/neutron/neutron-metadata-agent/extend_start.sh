#!/bin/bash
# kolla_extend_start of neutron-metadata-agent.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir neutron

if [[ ${KOLLA_NEUTRON_WRAPPERS:-false} == true ]]; then
    sudo -E /usr/local/lib/neutron-wrappers/copy-wrappers
else
    sudo -E /usr/local/lib/neutron-wrappers/delete-wrappers
fi

# shellcheck source=/dev/null
. /usr/local/bin/kolla_neutron_extend_start
