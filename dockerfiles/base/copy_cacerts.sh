#!/bin/bash
#
# kolla_copy_cacerts: make the system trust the deployment's certificate authorities, and
# remove those of an earlier start.

set -o errexit
set -o nounset

if [[ -e /etc/debian_version ]]; then
    anchors=/usr/local/share/ca-certificates
    update="update-ca-certificates"
elif [[ -e /etc/redhat-release ]]; then
    anchors=/etc/pki/ca-trust/source/anchors
    update="update-ca-trust"
else
    echo "kolla_copy_cacerts: unknown distribution" >&2
    exit 1
fi

# Newer deployments have config.json copy the certificates to a directory
# of the container.
source=/var/lib/kolla/config_files/ca-certificates
shared=/var/lib/kolla/share/ca-certificates
if grep -qs "\"source\": \"${shared}\"" /etc/kolla/defaults/state; then
    source=${shared}
fi

shopt -s nullglob
changed=
for old in "${anchors}"/kolla* /etc/ssl/certs/kolla*; do
    rm -f "${old}"
    changed=yes
done
for certificate in "${source}"/*; do
    if [[ -f ${certificate} ]]; then
        cp "${certificate}" "${anchors}/kolla-customca-$(basename "${certificate}")"
        changed=yes
    fi
done

if [[ -n ${changed} ]]; then
    "${update}"
fi
