#!/bin/bash
# kolla_cinder_extend_start of cinder-volume.

# Both are volumes that other containers write to as well.
for dir in /var/lib/cinder /etc/iscsi; do
    if [[ $(stat -c %U:%G "${dir}") != cinder:kolla ]]; then
        sudo chown -R cinder:kolla "${dir}"
    fi
    if [[ $(stat -c %a "${dir}") != 2775 ]]; then
        sudo chmod 2775 "${dir}"
    fi
done
