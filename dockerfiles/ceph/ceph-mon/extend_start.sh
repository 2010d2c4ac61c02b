#!/bin/bash
# kolla_extend_start of ceph-mon. The bootstrap creates the keyrings and the monitor map of a
# new cluster in /etc/ceph, which the deployment reads with fetch_ceph_keys.py. The first
# start of a monitor creates its data directory from them.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ceph

admin_keyring=/etc/ceph/ceph.client.admin.keyring
mon_keyring=/etc/ceph/ceph.client.mon.keyring
rgw_keyring=/etc/ceph/ceph.client.radosgw.keyring

if kolla_is_set KOLLA_BOOTSTRAP; then
    ceph-authtool --create-keyring "${mon_keyring}" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool --create-keyring "${admin_keyring}" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *'
    ceph-authtool --create-keyring "${rgw_keyring}" --gen-key -n client.radosgw.gateway \
        --cap osd 'allow rwx' --cap mon 'allow rwx'
    for keyring in "${admin_keyring}" "${rgw_keyring}"; do
        ceph-authtool "${mon_keyring}" --import-keyring "${keyring}"
    done
    # The address may be an IPv6 address in brackets.
    monmaptool --create --clobber --fsid "$(ceph-conf --lookup fsid)" \
        --add "${HOSTNAME}" "${MON_IP}" /etc/ceph/ceph.monmap
    exit 0
fi

mon_dir=/var/lib/ceph/mon/ceph-${HOSTNAME}
if [[ ! -e ${mon_dir}/keyring ]]; then
    work=$(mktemp -d)
    ceph-authtool --create-keyring "${work}/keyring" --import-keyring "${admin_keyring}"
    ceph-authtool "${work}/keyring" --import-keyring "${mon_keyring}"
    mkdir -p "${mon_dir}"
    # A monitor that joins a cluster gets the map from the running ones. The first monitor
    # creates it from mon_initial_members and mon_host in ceph.conf.
    map=()
    if ceph --connect-timeout 5 mon getmap -o "${work}/monmap"; then
        map=(--monmap "${work}/monmap")
    fi
    ceph-mon --mkfs -i "${HOSTNAME}" "${map[@]}" --keyring "${work}/keyring"
    rm -rf "${work}"
fi
