#!/bin/bash
# kolla_ironic_extend_start of ironic-pxe.

case ${KOLLA_BASE_ARCH} in
    x86_64) efi=x64 ;;
    aarch64) efi=aa64 ;;
esac
case ${KOLLA_BASE_DISTRO} in
    debian | ubuntu)
        shim=/usr/lib/shim/shim${efi}.efi.signed
        grub=$(echo /usr/lib/grub/*-efi-signed/grubnet"${efi}".efi.signed)
        pxelinux=(/usr/lib/PXELINUX/pxelinux.0 /usr/lib/syslinux/modules/bios/{chain.c32,ldlinux.c32})
        ;;
    *)
        shim=$(echo /boot/efi/EFI/[!B]*/shim"${efi}".efi)
        grub=$(echo /boot/efi/EFI/[!B]*/grub"${efi}".efi)
        pxelinux=(/tftpboot/{pxelinux.0,chain.c32,ldlinux.c32})
        ;;
esac

# copy_files DIRECTORY FILE... copies the files that are not in the directory.
copy_files() {
    local directory=$1 file
    shift
    for file in "$@"; do
        if [[ $(dirname "${file}") != "${directory}" ]]; then
            cp "${file}" "${directory}/"
        fi
    done
}

# Network boot programs: PXELINUX for BIOS, GRUB for UEFI, and iPXE for both, with the default
# file names of Ironic.
prepare_tftpboot() {
    if [[ ${KOLLA_BASE_ARCH} == x86_64 ]]; then
        copy_files "${TFTPBOOT_PATH}" "${pxelinux[@]}"
    fi
    cp "${shim}" "${TFTPBOOT_PATH}/boot${efi}.efi"
    cp "${grub}" "${TFTPBOOT_PATH}/grub${efi}.efi"
    if [[ -d /usr/lib/ipxe ]]; then
        # Older packages have some programs in /boot only.
        copy_files "${TFTPBOOT_PATH}" /usr/lib/ipxe/{undionly.kpxe,snponly.efi,ipxe*.efi}
        if [[ -e /boot/ipxe-arm64.efi ]]; then
            copy_files "${TFTPBOOT_PATH}" /boot/ipxe-arm64.efi
        fi
    else
        copy_files "${TFTPBOOT_PATH}" /usr/share/ipxe/{undionly.kpxe,ipxe-snponly-x86_64.efi}
        cp /usr/share/ipxe/arm64-efi/snponly.efi "${TFTPBOOT_PATH}/ipxe-snponly-aarch64.efi"
        if [[ ! -e ${TFTPBOOT_PATH}/snponly.efi ]]; then
            ln -s "ipxe-snponly-${KOLLA_BASE_ARCH}.efi" "${TFTPBOOT_PATH}/snponly.efi"
        fi
    fi
}

# The EFI system partition of images that Ironic attaches as virtual media.
prepare_esp_image() {
    local image=${HTTPBOOT_PATH}/esp.img
    rm -f "${image}"
    truncate -s 8M "${image}"
    mkfs.msdos -F 12 -n ESP_IMAGE "${image}"
    mmd -i "${image}" EFI EFI/BOOT
    mcopy -i "${image}" "${shim}" "::EFI/BOOT/boot${efi}.efi"
    mcopy -i "${image}" "${grub}" "::EFI/BOOT/grub${efi}.efi"
}

if kolla_is_set KOLLA_BOOTSTRAP; then
    mkdir -p "${TFTPBOOT_PATH}" "${HTTPBOOT_PATH}"
    chown ironic: "${TFTPBOOT_PATH}" "${HTTPBOOT_PATH}"
    prepare_tftpboot
    prepare_esp_image
    exit 0
fi

sed "s|\${TFTPBOOT_PATH}|${TFTPBOOT_PATH}|g" /map-file-template > /map-file
