#!/bin/bash
#
# kolla_apt_keys             fetches the keys that enabled repositories name
# kolla_apt_keys NAME URL    fetches one key
#
# A repository's .sources file names its key as /etc/kolla/apt-keys/NAME.asc or
# NAME.gpg. A key that is there already, from the base image or an override,
# is kept. Each key is stored in both forms, so that either name works.

set -euo pipefail

keys=/etc/kolla/apt-keys

declare -A known=(
    [docker-ce]=https://download.docker.com/linux/debian/gpg
    [elasticsearch]=https://artifacts.elastic.co/GPG-KEY-elasticsearch
    [erlang-ppa]='https://keyserver.ubuntu.com/pks/lookup?op=get&search=0xF77F1EDA57EBB1CC'
    [fluentd]=https://fluentd.cdn.cncf.io/GPG-KEY-fluent-package
    [grafana]=https://rpm.grafana.com/gpg.key
    [hashicorp]=https://apt.releases.hashicorp.com/gpg
    [haproxy]='https://keyserver.ubuntu.com/pks/lookup?op=get&search=0xCFFB779AADC995E4F350A060505D97A41C61B9CD'
    [influxdb]=https://repos.influxdata.com/influxdata-archive.key
    [mariadb]=https://downloads.mariadb.com/MariaDB/mariadb-keyring-2019.gpg
    [opensearch]=https://artifacts.opensearch.org/publickeys/opensearch-release.pgp
    [proxysql]=https://repo.proxysql.com/ProxySQL/proxysql-3.0.x/repo_pub_key
    [rabbitmq]='https://keyserver.ubuntu.com/pks/lookup?op=get&search=0x6B73A36E6026DFCA'
    [sensu]=https://eol-repositories.sensuapp.org/apt/pubkey.gpg
)

fetch() {
    local name=$1 url=$2 file
    mkdir -p "${keys}"
    file=$(mktemp)
    curl --output "${file}" "${url}"
    if grep -q -e '-----BEGIN PGP' "${file}"; then
        install -m 0644 "${file}" "${keys}/${name}.asc"
        # The armour's body lies between the first empty line and the checksum.
        sed -e 's/\r$//' -e '1,/^$/d' -e '/^[=-]/,$d' "${file}" | base64 --decode > "${keys}/${name}.gpg"
    else
        install -m 0644 "${file}" "${keys}/${name}.gpg"
    fi
    rm -f "${file}"
}

if [[ $# -eq 2 ]]; then
    fetch "$1" "$2"
    exit
fi

shopt -s nullglob
for sources in /etc/apt/sources.list.d/*.sources; do
    key=$(sed -n "s|^Signed-By: *${keys}/||p" "${sources}")
    if [[ -z ${key} || -e ${keys}/${key} ]]; then
        continue
    fi
    name=${key%.*}
    if [[ -z ${known[${name}]:-} ]]; then
        echo "${sources} names the key ${keys}/${key}, which is not there." >&2
        echo "Add it with base_remote_apt_keys_append or copy it in base_header." >&2
        exit 1
    fi
    fetch "${name}" "${known[${name}]}"
done
