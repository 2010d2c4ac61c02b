#!/bin/bash
#
# letsencrypt-certificates --internal | --external --fqdns NAME,... --days DAYS
#     --mail ADDRESS --acme URL --vips ADDRESS,... --haproxies-ssh HOST:PORT,...
#     [--port PORT] [--key-type TYPE] [--eab --kid ID --hmac KEY]
#
# Obtain a certificate for the names, or renew it if it is valid for less than DAYS, and copy
# it to the load balancers. This happens only on the host with one of the VIPs, which receives
# the challenge of the certificate authority.

set -o errexit
set -o nounset
set -o pipefail

log() {
    echo "$(date '+%Y/%m/%d %H:%M:%S') [$1] [${name:-} - cron] $2"
}

fail() {
    log ERROR "$1"
    exit 1
}

type=
fqdns=
days=30
mail=
acme=
vips=
haproxies=
key_type=
eab=
kid=
hmac=

arguments=$(getopt --name letsencrypt-certificates --options ief:p:d:m:a:v:h:k: \
    --longoptions internal,external,fqdns:,port:,days:,mail:,acme:,vips:,haproxies-ssh:,eab,kid:,hmac:,key-type: -- "$@")
eval set -- "${arguments}"
while [[ $1 != -- ]]; do
    case $1 in
        -i | --internal | -e | --external)
            if [[ -n ${type} ]]; then
                fail "--internal and --external exclude each other."
            fi
            case $1 in -i | --internal) type=internal ;; *) type=external ;; esac
            shift
            continue
            ;;
        --eab)
            eab=yes
            shift
            continue
            ;;
        -f | --fqdns) fqdns=$2 ;;
        # The web server answers the challenge on another port.
        -p | --port) ;;
        -d | --days) days=$2 ;;
        -m | --mail) mail=$2 ;;
        -a | --acme) acme=$2 ;;
        -v | --vips) vips=$2 ;;
        -h | --haproxies-ssh) haproxies=$2 ;;
        --kid) kid=$2 ;;
        --hmac) hmac=$2 ;;
        -k | --key-type) key_type=$2 ;;
    esac
    shift 2
done

if [[ -z ${type} || -z ${fqdns} ]]; then
    fail "--internal or --external, and --fqdns are required."
fi
IFS=, read -r -a names <<< "${fqdns}"
IFS=, read -r -a vip_list <<< "${vips}"
name=${names[0]}

# is_active succeeds if this host has one of the VIPs.
is_active() {
    local address vip
    while read -r address; do
        for vip in "${vip_list[@]}"; do
            if [[ ${address%/*} == "${vip}" ]]; then
                return 0
            fi
        done
    done < <(ip -oneline address show | awk '{print $4}')
    return 1
}

if ! is_active; then
    log INFO "This Letsencrypt-lego host is passive, nothing to do..."
    exit 0
fi
log INFO "This Letsencrypt-lego host is active..."

path=/etc/letsencrypt/lego/${type}
certificates=${path}/certificates
# lego writes "*" as "_".
certificate=${certificates}/${name/\*/_}.pem

# Remove certificates of earlier names, which would be copied with the others.
if [[ -d ${certificates} ]]; then
    find "${certificates}" -type f ! -name "${name/\*/_}.*" -delete
fi

# If the certificate lacks one of the names, it is replaced, not renewed.
if [[ -e ${certificate} ]]; then
    present=$(openssl x509 -noout -ext subjectAltName -in "${certificate}" | grep -o 'DNS:[^,[:space:]]*' || true)
    for fqdn in "${names[@]}"; do
        if ! grep -qxF "DNS:${fqdn}" <<< "${present}"; then
            log INFO "${fqdn} will be added to the certificate."
            rm -f "${certificates}"/*
            break
        fi
    done
fi

lego=(/opt/lego "--email=${mail}" "--server=${acme}" "--path=${path}" --accept-tos --pem
    --http --http.webroot=/etc/letsencrypt/http-01)
for fqdn in "${names[@]}"; do
    lego+=("--domains=${fqdn}")
done
if [[ -n ${key_type} ]]; then
    lego+=("--key-type=${key_type}")
fi
if [[ -n ${eab} ]]; then
    if [[ -z ${kid} || -z ${hmac} ]]; then
        fail "External Account Binding requires --kid and --hmac."
    fi
    lego+=(--eab "--kid=${kid}" "--hmac=${hmac}")
fi
hook="/usr/bin/sync-and-update-certificate --${type} --fqdn ${name} --haproxies-ssh ${haproxies}"
if [[ -e ${certificate} ]]; then
    lego+=(renew "--days=${days}" "--renew-hook=${hook}")
else
    lego+=(run "--run-hook=${hook}")
fi

log INFO "Obtaining certificate for domains ${names[*]}."
status=0
# Only some of its lines begin with a date.
"${lego[@]}" 2>&1 | while IFS= read -r line; do
    case ${line} in
        '') ;;
        [0-9][0-9][0-9][0-9]/*) echo "${line}" ;;
        *) log INFO "${line}" ;;
    esac
done || status=$?

chown -R haproxy:haproxy /etc/letsencrypt/lego
if [[ ${status} -ne 0 ]]; then
    fail "lego ended with status ${status}."
fi
