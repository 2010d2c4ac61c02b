#!/bin/bash
# kolla_extend_start of ceph-base and its children.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ceph
