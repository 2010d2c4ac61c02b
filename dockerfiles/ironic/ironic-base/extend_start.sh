#!/bin/bash
# kolla_extend_start of all images of ironic. Each image has its own
# kolla_ironic_extend_start.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ironic ironic:kolla

# ironic-conductor writes metrics here for the Prometheus exporter.
if [[ ! -d /var/lib/ironic-metrics ]]; then
    sudo mkdir -p /var/lib/ironic-metrics
fi
if [[ $(stat -c %U:%G /var/lib/ironic-metrics) != ironic:ironic ]]; then
    sudo chown ironic:ironic /var/lib/ironic-metrics
fi
if [[ $(stat -c %a /var/lib/ironic-metrics) != 2775 ]]; then
    sudo chmod 2775 /var/lib/ironic-metrics
fi

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ironic_extend_start
