#!/bin/bash
#
# Functions for kolla_extend_start scripts, which kolla_start sources under
# errexit, pipefail, nounset and xtrace.

# kolla_is_set NAME succeeds if the variable is set, even if it is empty: deployments set
# KOLLA_BOOTSTRAP to an empty value.
kolla_is_set() {
    [[ -n ${!1+set} ]]
}

# kolla_log_dir NAME [OWNER] creates /var/log/kolla/NAME, readable for the log collector. If
# root runs it, the directory and its files get the owner.
kolla_log_dir() {
    local dir=/var/log/kolla/$1
    mkdir -p "${dir}"
    if [[ -n ${2:-} && $(id -u) -eq 0 && $(stat -c %U:%G "${dir}") != "$2" ]]; then
        chown -R "$2" "${dir}"
    fi
    # Keep a mode of the deployment that also lets the group kolla write.
    if [[ $(stat -c %a "${dir}") != *[57]5 ]]; then
        chmod 755 "${dir}"
    fi
}

# kolla_log_file FILE OWNER creates /var/log/kolla/FILE for a service that writes its log as
# OWNER, unless the file exists.
kolla_log_file() {
    local file=/var/log/kolla/$1
    if [[ ! -e ${file} ]]; then
        touch "${file}"
        if [[ $(id -u) -eq 0 ]]; then
            chown "$2" "${file}"
        fi
    fi
}

# kolla_ssh_host_keys creates the host keys that the container does not have.
kolla_ssh_host_keys() {
    local type
    for type in rsa ecdsa ed25519; do
        if [[ ! -f /etc/ssh/ssh_host_${type}_key ]]; then
            ssh-keygen -q -t "${type}" -f "/etc/ssh/ssh_host_${type}_key" -N ""
        fi
    done
}
