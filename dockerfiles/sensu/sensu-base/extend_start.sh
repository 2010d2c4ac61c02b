#!/bin/bash
# kolla_extend_start of all Sensu images.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir sensu sensu:kolla
