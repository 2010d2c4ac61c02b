#!/bin/bash
# kolla_extend_start of all images of hacluster.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir hacluster hacluster:kolla
