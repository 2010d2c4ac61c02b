#!/bin/bash
# kolla_extend_start of opensearch.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir opensearch
