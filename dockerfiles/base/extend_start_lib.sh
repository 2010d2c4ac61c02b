#!/bin/bash
#
# Functions for kolla_extend_start scripts, which kolla_start sources under
# errexit, pipefail, nounset and xtrace.

# kolla_is_set NAME: is the variable set at all? An empty KOLLA_BOOTSTRAP asks
# for a bootstrap as well.
kolla_is_set() {
    [[ -n ${!1+set} ]]
}

# kolla_log_dir NAME [OWNER] makes /var/log/kolla/NAME, readable for the log
# collector. Only root can give it an owner; who else makes it has it already.
kolla_log_dir() {
    local dir=/var/log/kolla/$1
    mkdir -p "${dir}"
    if [[ -n ${2:-} && $(id -u) -eq 0 && $(stat -c %U:%G "${dir}") != "$2" ]]; then
        chown -R "$2" "${dir}"
    fi
    # The deployment may have made it writable for the group kolla.
    if [[ $(stat -c %a "${dir}") != *[57]5 ]]; then
        chmod 755 "${dir}"
    fi
}

# kolla_log_file FILE OWNER makes /var/log/kolla/FILE for a service that writes its
# log as OWNER. One that exists stays as it is.
kolla_log_file() {
    local file=/var/log/kolla/$1
    if [[ ! -e ${file} ]]; then
        touch "${file}"
        if [[ $(id -u) -eq 0 ]]; then
            chown "$2" "${file}"
        fi
    fi
}

# kolla_ssh_host_keys makes the host keys that this container does not have.
kolla_ssh_host_keys() {
    local type
    for type in rsa ecdsa ed25519; do
        if [[ ! -f /etc/ssh/ssh_host_${type}_key ]]; then
            ssh-keygen -q -t "${type}" -f "/etc/ssh/ssh_host_${type}_key" -N ""
        fi
    done
}
