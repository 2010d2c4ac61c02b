#!/bin/bash
# kolla_extend_start of influxdb.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir influxdb
