#!/bin/bash
#
# kolla_httpd_setup prepares a start of Apache, for services that run under it
# as root. Sourced, because Apache on Debian takes its paths from the
# environment.

if [[ $(id -u) -eq 0 ]]; then
    case ${KOLLA_BASE_DISTRO} in
        debian | ubuntu)
            # Debian's envvars reads this unset, which nounset does not allow.
            APACHE_CONFDIR=
            # shellcheck source=/dev/null
            . /etc/apache2/envvars
            # A container that was killed keeps the pid file of its old self.
            mkdir -p /var/run/apache2
            rm -rf /var/run/apache2/*
            ;;
        *)
            rm -rf /var/run/httpd/* /tmp/httpd*
            # mod_ssl does not start without a certificate.
            if [[ -x /usr/libexec/httpd-ssl-gencerts && ! -e /etc/pki/tls/certs/localhost.crt ]]; then
                rm -f /tmp/dhparams.pem
                /usr/libexec/httpd-ssl-gencerts
            fi
            ;;
    esac
fi

# Services expect a Unicode locale, unless the deployment sets another.
LANG=C.UTF-8
for file in /etc/default/locale /etc/locale.conf; do
    if [[ -f ${file} ]]; then
        # shellcheck source=/dev/null
        . "${file}"
    fi
done
