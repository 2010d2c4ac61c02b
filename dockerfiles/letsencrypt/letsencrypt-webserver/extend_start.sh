#!/bin/bash
# kolla_letsencrypt_extend_start of letsencrypt-webserver.

. /usr/local/bin/kolla_httpd_setup
