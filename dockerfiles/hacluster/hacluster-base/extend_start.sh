#!/bin/bash
# kolla_extend_start of all hacluster images.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir hacluster hacluster:kolla
