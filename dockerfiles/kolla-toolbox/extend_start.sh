#!/bin/bash
# kolla_extend_start of kolla-toolbox. All users that run Ansible write to the same log.

log=/var/log/kolla/ansible.log

if [[ ! -f ${log} ]]; then
    touch "${log}"
fi
if [[ $(stat -c %U:%G "${log}") != ansible:kolla ]]; then
    chown ansible:kolla "${log}"
fi
if [[ $(stat -c %a "${log}") != 664 ]]; then
    chmod 664 "${log}"
fi
