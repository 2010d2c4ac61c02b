#!/bin/bash
# kolla_extend_start of elasticsearch.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir elasticsearch

# A new volume is owned by root.
if [[ $(stat -c %U:%G /var/lib/elasticsearch/data) != elasticsearch:elasticsearch ]]; then
    sudo chown elasticsearch: /var/lib/elasticsearch/data
fi
