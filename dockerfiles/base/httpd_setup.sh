#!/bin/bash
#
# kolla_httpd_setup prepares a start of Apache as root. It is sourced, because Apache on
# Debian reads its paths from the environment.

if [[ $(id -u) -eq 0 ]]; then
    case ${KOLLA_BASE_DISTRO} in
        debian | ubuntu)
            # envvars reads this variable, which nounset requires to be set.
            APACHE_CONFDIR=
            # shellcheck source=/dev/null
            . /etc/apache2/envvars
            # A killed container leaves a pid file.
            mkdir -p /var/run/apache2
            rm -rf /var/run/apache2/*
            ;;
        *)
            rm -rf /var/run/httpd/* /tmp/httpd*
            # For monitoring on this host. Debian's packages enable it.
            if [[ -d /etc/httpd/conf.modules.d ]]; then
                printf '%s\n' '<Location "/server-status">' '    SetHandler server-status' \
                    '    Require local' '</Location>' > /etc/httpd/conf.modules.d/99-server-status.conf
            fi
            # mod_ssl does not start without a certificate.
            if [[ -x /usr/libexec/httpd-ssl-gencerts && ! -e /etc/pki/tls/certs/localhost.crt ]]; then
                rm -f /tmp/dhparams.pem
                /usr/libexec/httpd-ssl-gencerts
            fi
            ;;
    esac
fi

# Services need a Unicode locale. The deployment may set another one.
LANG=C.UTF-8
for file in /etc/default/locale /etc/locale.conf; do
    if [[ -f ${file} ]]; then
        # shellcheck source=/dev/null
        . "${file}"
    fi
done
