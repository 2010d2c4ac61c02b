#!/bin/bash
# kolla_extend_start of elasticsearch-curator.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir elasticsearch elasticsearch:kolla
