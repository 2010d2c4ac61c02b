#!/bin/bash
# kolla_extend_start of kolla-toolbox: one log for all users that run Ansible here.

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
