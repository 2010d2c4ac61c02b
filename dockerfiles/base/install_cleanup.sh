#!/bin/bash
#
# Functions for kolla_apt_install and kolla_dnf_install that remove what packages create and
# an image must not have.
#
# Some packages create keys and identifiers of the machine. In an image, all containers would
# share them, and every user of the image would know the keys.

machine_identity_files() {
    find /etc/bind/rndc.key \
        /etc/corosync/authkey \
        /etc/iscsi/initiatorname.iscsi \
        /etc/nvme/hostid /etc/nvme/hostnqn \
        /etc/openvswitch/conf.db /etc/openvswitch/.conf.db.~lock~ /etc/openvswitch/system-id.conf \
        /etc/pacemaker/authkey \
        /etc/rndc.key \
        /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub \
        /etc/ssl/private/ssl-cert-snakeoil.key \
        /var/lib/dbus/machine-id \
        -maxdepth 0 2>/dev/null | sort || true
}

# machine_identity_remember records the files that exist before an installation and are kept.
machine_identity_remember() {
    machine_identity_before=$(machine_identity_files)
}

# machine_identity_remove removes the files created since then. An empty /etc/machine-id is
# kept: it means that the machine has no identity yet.
machine_identity_remove() {
    local file
    while read -r file; do
        if [[ -n ${file} ]] && ! grep -qxF "${file}" <<< "${machine_identity_before}"; then
            rm -f "${file}"
        fi
    done < <(machine_identity_files)
    if [[ -s /etc/machine-id ]]; then
        : > /etc/machine-id
    fi
}

# remove_setuid removes the setuid and setgid bits of programs that only root needs. Services
# use sudo. Programs that keep the bits are listed in pkg/contract/data/exceptions.tsv.
remove_setuid() {
    local program usr=${KOLLA_PROGRAMS:-}/usr
    for program in \
        "${usr}"/bin/{chage,chfn,chsh,crontab,expiry,gpasswd,mount,newgrp,passwd,pkexec,ssh-agent,su,umount,wall,write} \
        "${usr}"/lib/{dbus-1.0/dbus-daemon-launch-helper,polkit-1/polkit-agent-helper-1} \
        "${usr}"/libexec/dbus-1/dbus-daemon-launch-helper \
        "${usr}"/{lib,libexec}/openssh/ssh-keysign \
        "${usr}"/sbin/{grub2-set-bootflag,mount.nfs,pam_timestamp_check,userhelper}; do
        if [[ -f ${program} && ( -u ${program} || -g ${program} ) ]]; then
            chmod u-s,g-s "${program}"
        fi
    done
}
