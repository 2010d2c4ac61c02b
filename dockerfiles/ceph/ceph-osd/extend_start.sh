#!/bin/bash
# kolla_extend_start of ceph-osd. The bootstrap creates an OSD on the disks that these
# variables name. Its metadata partition gets the name KOLLA_CEPH_DATA_BS_ID, by which the
# deployment finds it later. Its data, write-ahead log and database get the same name with
# _B, _W and _D.
#
#   OSD_BS_DEV, OSD_BS_PARTNUM              disk and partition of the metadata
#   OSD_BS_BLK_DEV, OSD_BS_BLK_PARTNUM      of the data (by default, on the disk of the metadata)
#   OSD_BS_WAL_DEV, OSD_BS_WAL_PARTNUM      of a separate write-ahead log, if any
#   OSD_BS_DB_DEV, OSD_BS_DB_PARTNUM        of a separate database, if any
#   USE_EXTERNAL_JOURNAL=True               the disks are partitioned already
#   OSD_INITIAL_WEIGHT                      a number, or auto for the size in TiB
#   CEPH_CACHE                              if set, the OSD is under the CRUSH root "cache"

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ceph

# If the name of a disk ends in a digit, a p precedes the number of the partition.
partition() {
    if [[ $1 == *[0-9] ]]; then
        echo "$1p$2"
    else
        echo "$1$2"
    fi
}

wait_for() {
    local _
    for _ in {1..10}; do
        if [[ -b $1 ]]; then
            return 0
        fi
        sleep 1
    done
    echo "$1 has not appeared within 10 seconds." >&2
    return 1
}

# Make the kernel read the changed partition table. This fails for disks in use.
reread_partitions() {
    udevadm settle --timeout=600 || true
    flock -s "$1" partprobe "$1" || true
    udevadm settle --timeout=600 || true
}

# name_partition DISK NUMBER NAME TYPE
name_partition() {
    sgdisk "--change-name=$2:$3" "--typecode=$2:$4" -- "$1"
    reread_partitions "$1"
}

# has_own PART succeeds if the log or database (WAL or DB) has a separate partition.
has_own() {
    local disk=OSD_BS_$1_DEV number=OSD_BS_$1_PARTNUM
    [[ -n ${!disk:-} && -n ${!number:-} && ${!disk} != "${block_disk}" ]]
}

bootstrap() {
    # Ceph's partition types.
    local data_type=4FBD7E29-9D25-41B8-AFD0-062C0CEFF05D
    declare -A own_type=(
        [WAL]=0FC63DAF-8483-4772-8E79-3D69D8477DE4
        [DB]=CE8DF73C-B89D-45B0-AD98-D45332906D90
    )
    local part disk number metadata block_disk block_number uuid id dir name root bucket weight

    # Fails unless enough monitors are up.
    ceph quorum_status

    block_disk=${OSD_BS_BLK_DEV:-}
    block_number=${OSD_BS_BLK_PARTNUM:-}
    if [[ -z ${block_disk} || -z ${block_number} || ${block_disk} == "${OSD_BS_DEV}" ]]; then
        block_disk=${OSD_BS_DEV}
        block_number=2
    fi

    if [[ ${USE_EXTERNAL_JOURNAL:-False} == False ]]; then
        if [[ ${block_disk} == "${OSD_BS_DEV}" ]]; then
            sgdisk --zap-all -- "${OSD_BS_DEV}"
            sgdisk --new=1:0:+100M --mbrtogpt -- "${OSD_BS_DEV}"
            sgdisk --largest-new=2 --mbrtogpt -- "${OSD_BS_DEV}"
            reread_partitions "${OSD_BS_DEV}"
        else
            wipefs --all "$(partition "${OSD_BS_DEV}" "${OSD_BS_PARTNUM}")"
        fi
        wait_for "$(partition "${block_disk}" "${block_number}")"
        wipefs --all "$(partition "${block_disk}" "${block_number}")"
        for part in WAL DB; do
            if has_own "${part}"; then
                disk=OSD_BS_${part}_DEV number=OSD_BS_${part}_PARTNUM
                wipefs --all "$(partition "${!disk}" "${!number}")"
            fi
        done
    fi

    metadata=$(partition "${OSD_BS_DEV}" "${OSD_BS_PARTNUM}")
    uuid=$(uuidgen)
    id=$(ceph osd new "${uuid}")
    dir=/var/lib/ceph/osd/ceph-${id}
    name=KOLLA_CEPH_DATA_BS_${id}
    mkdir -p "${dir}"
    mkfs.xfs -f "${metadata}"
    mount "${metadata}" "${dir}"
    echo bluestore > "${dir}/type"
    ceph-osd -i "${id}" --mkkey --no-mon-config

    name_partition "${block_disk}" "${block_number}" "${name}_B" "${data_type}"
    ln -sf "/dev/disk/by-partlabel/${name}_B" "${dir}/block"
    for part in WAL DB; do
        if has_own "${part}"; then
            disk=OSD_BS_${part}_DEV number=OSD_BS_${part}_PARTNUM
            name_partition "${!disk}" "${!number}" "${name}_${part:0:1}" "${own_type[${part}]}"
            ln -sf "/dev/disk/by-partlabel/${name}_${part:0:1}" "${dir}/block.${part,,}"
        fi
    done

    ceph-osd -i "${id}" --mkfs -k "${dir}/keyring" --osd-uuid "${uuid}" --no-mon-config
    ceph auth add "osd.${id}" osd 'allow *' mon 'allow profile osd' -i "${dir}/keyring"
    umount "${dir}"

    root=default bucket=${HOSTNAME}
    if kolla_is_set CEPH_CACHE; then
        root=cache bucket=${HOSTNAME}-cache
    fi
    weight=${OSD_INITIAL_WEIGHT:-auto}
    if [[ ${weight} == auto ]]; then
        weight=$(blockdev --getsize64 "$(partition "${block_disk}" "${block_number}")" | awk '{printf "%.2f", $1 / 2^40}')
    fi
    # Adding a bucket that exists changes nothing.
    ceph osd crush add-bucket "${bucket}" host
    ceph osd crush move "${bucket}" "root=${root}"
    ceph osd crush add "${id}" "${weight}" "host=${bucket}"

    # Set this name last: the deployment treats an OSD with it as complete.
    name_partition "${OSD_BS_DEV}" "${OSD_BS_PARTNUM}" "${name}" "${data_type}"
}

if kolla_is_set KOLLA_BOOTSTRAP; then
    if [[ ${OSD_STORETYPE:-bluestore} != bluestore ]]; then
        echo "Ceph has removed the store type ${OSD_STORETYPE}; set OSD_STORETYPE to bluestore." >&2
        exit 1
    fi
    bootstrap
    exit 0
fi

# kolla_start adds it to the command.
# shellcheck disable=SC2034
ARGS="-i ${OSD_ID}"
