#!/bin/bash
# kolla_extend_start of httpd.

. /usr/local/bin/kolla_httpd_setup
