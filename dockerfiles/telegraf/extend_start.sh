#!/bin/bash
# kolla_extend_start of telegraf.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir telegraf
