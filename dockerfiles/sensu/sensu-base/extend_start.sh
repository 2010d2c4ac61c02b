#!/bin/bash
# kolla_extend_start of all images of sensu.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir sensu sensu:kolla
