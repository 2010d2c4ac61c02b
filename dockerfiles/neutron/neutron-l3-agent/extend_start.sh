#!/bin/bash
# kolla_extend_start of neutron-l3-agent.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir neutron
# Old kernels need the legacy iptables. On the RHEL family, the image selects the program.
if update-alternatives --display iptables &> /dev/null && [[ ${KOLLA_BASE_DISTRO} =~ debian|ubuntu ]]; then
    for command in iptables ip6tables; do
        if [[ ${KOLLA_LEGACY_IPTABLES:-false} == true ]]; then
            sudo update-alternatives --set "${command}" "/usr/sbin/${command}-legacy"
        else
            sudo update-alternatives --auto "${command}"
        fi
    done
fi

if [[ ${KOLLA_NEUTRON_WRAPPERS:-false} == true ]]; then
    sudo -E /usr/local/lib/neutron-wrappers/copy-wrappers
else
    sudo -E /usr/local/lib/neutron-wrappers/delete-wrappers
fi

# shellcheck source=/dev/null
. /usr/local/bin/kolla_neutron_extend_start
