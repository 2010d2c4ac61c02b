#!/bin/bash
# kolla_extend_start of all images of letsencrypt. The volume /etc/letsencrypt has the
# certificates, which the user haproxy copies to other hosts, and the responses to challenges,
# which the web server serves.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir letsencrypt

install -d -o haproxy -g haproxy -m 0751 /etc/letsencrypt
install -d -o haproxy -g haproxy -m 0755 /etc/letsencrypt/lego /etc/letsencrypt/lego/internal /etc/letsencrypt/lego/external

for user in www-data apache root; do
    if getent passwd "${user}" > /dev/null; then
        break
    fi
done
install -d -o "${user}" -g "${user}" -m 0755 /etc/letsencrypt/http-01 \
    /etc/letsencrypt/http-01/.well-known /etc/letsencrypt/http-01/.well-known/acme-challenge

if [[ -e /usr/local/bin/kolla_letsencrypt_extend_start ]]; then
    # shellcheck source=/dev/null
    . /usr/local/bin/kolla_letsencrypt_extend_start
fi
