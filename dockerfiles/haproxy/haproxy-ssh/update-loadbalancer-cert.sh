#!/bin/bash
#
# update-loadbalancer-cert --internal | --external
#
# Make HAProxy use the certificate that was copied to /var/lib/haproxy, without a restart. The
# certificate is loaded over HAProxy's socket and stored where HAProxy reads it at its next
# start. The old one is kept in /etc/letsencrypt/backups.

set -o errexit
set -o nounset
set -o pipefail

socket=/var/lib/kolla/haproxy/haproxy.sock
backups=/etc/letsencrypt/backups

log() {
    echo "$(date '+%Y/%m/%d %H:%M:%S') [$1] $2"
}

fail() {
    log ERROR "$1"
    exit 1
}

case ${1:-} in
    -i | --internal) file=haproxy-internal.pem ;;
    -e | --external) file=haproxy.pem ;;
    *)
        echo "usage: update-loadbalancer-cert --internal | --external" >&2
        exit 2
        ;;
esac
if [[ $# -ne 1 ]]; then
    echo "update-loadbalancer-cert: --internal and --external exclude each other" >&2
    exit 2
fi
new=/var/lib/haproxy/${file}
current=/etc/haproxy/certificates/${file}

if [[ ! -s ${new} ]]; then
    fail "[${current} - update] ${new} does not exist or is empty."
fi

# haproxy sends a command to HAProxy and prints the answer.
haproxy() {
    socat "unix-connect:${socket}" - || fail "[${current} - update] HAProxy's socket ${socket} does not answer."
}

# In HAProxy's protocol, an empty line ends the certificate.
answer=$({ echo "set ssl cert ${current} <<"; sed '/^[[:space:]]*$/d' "${new}"; echo; } | haproxy)
if [[ ! ${answer} =~ Transaction\ (created|updated)\ for\ certificate ]]; then
    fail "[${current} - update] HAProxy refuses ${new}: ${answer}"
fi
log INFO "[${current} - update] Transaction ${new} -> ${current} started."

answer=$(echo "commit ssl cert ${current}" | haproxy)
if [[ ${answer} != *Success!* ]]; then
    echo "abort ssl cert ${current}" | haproxy > /dev/null
    fail "[${current} - update] HAProxy does not load ${new}: ${answer}"
fi
log INFO "[${current} - update] HAProxy has loaded ${new}."

mkdir -p "${backups}"
if [[ -e ${current} ]]; then
    backup=${backups}/${file%.pem}-$(date +%Y-%m-%d-%H-%M-%S).pem
    log INFO "[${current} - update] Keeping the old certificate as ${backup}"
    cp -p "${current}" "${backup}"
fi
cp -p "${new}" "${current}"
rm -f "${new}"
