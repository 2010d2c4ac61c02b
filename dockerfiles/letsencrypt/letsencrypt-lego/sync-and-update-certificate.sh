#!/bin/bash
#
# sync-and-update-certificate --internal | --external --fqdn NAME --haproxies-ssh HOST:PORT,...
#
# Copy lego's files to the other load balancers, so that each of them can renew the
# certificate, and make HAProxy use the new certificate on all of them. lego runs this script.

set -o nounset

type=
fqdn=
haproxies=

log() {
    echo "$(date '+%Y/%m/%d %H:%M:%S') [$1] [${fqdn} - hook] $2"
}

arguments=$(getopt --name sync-and-update-certificate --options ief:l: \
    --longoptions internal,external,fqdn:,haproxies-ssh: -- "$@") || exit 2
eval set -- "${arguments}"
while [[ $1 != -- ]]; do
    case $1 in
        -i | --internal | -e | --external)
            if [[ -n ${type} ]]; then
                log ERROR "--internal and --external exclude each other."
                exit 2
            fi
            case $1 in -i | --internal) type=internal ;; *) type=external ;; esac
            shift
            continue
            ;;
        -f | --fqdn) fqdn=$2 ;;
        -l | --haproxies-ssh) haproxies=$2 ;;
    esac
    shift 2
done
case ${type} in
    internal) target=/var/lib/haproxy/haproxy-internal.pem ;;
    external) target=/var/lib/haproxy/haproxy.pem ;;
    *)
        log ERROR "--internal or --external is required."
        exit 2
        ;;
esac

certificate=/etc/letsencrypt/lego/${type}/certificates/${fqdn/\*/_}.pem
if [[ ! -s ${certificate} ]]; then
    log ERROR "${certificate} does not exist or is empty."
    exit 1
fi
# In HAProxy's protocol, an empty line ends a certificate.
sed -i '/^$/d' "${certificate}"

# Host keys change when the containers are created again.
options="-i /var/lib/letsencrypt/.ssh/id_rsa -o BatchMode=yes -o ConnectTimeout=30 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
addresses=$(ip -oneline address show | awk '{sub("/.*", "", $4); print $4}')
failed=0

IFS=, read -r -a servers <<< "${haproxies}"
for server in "${servers[@]}"; do
    port=${server##*:}
    host=${server%:*}
    # rsync requires brackets around an IPv6 address, ssh does not allow them.
    plain=${host#[}
    plain=${plain%]}

    if grep -qxF "${plain}" <<< "${addresses}"; then
        log INFO "${host} is this host, which has lego's data."
    elif rsync --archive --delete --rsh "ssh -p ${port} ${options}" /etc/letsencrypt/lego/ "haproxy@${host}:/etc/letsencrypt/lego/"; then
        log INFO "Copied lego's data to ${host}, port ${port}."
    else
        log ERROR "lego's data cannot be copied to ${host}, port ${port}."
        failed=1
        continue
    fi

    # shellcheck disable=SC2086  # options is a list of words
    if ! rsync --archive --rsh "ssh -p ${port} ${options}" "${certificate}" "haproxy@${host}:${target}" ||
            ! ssh -p "${port}" ${options} "haproxy@${plain}" "/usr/bin/update-loadbalancer-cert --${type}"; then
        log ERROR "The certificate cannot be updated on ${host}, port ${port}."
        failed=1
    fi
done
exit "${failed}"
