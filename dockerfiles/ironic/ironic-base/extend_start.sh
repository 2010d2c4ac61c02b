#!/bin/bash
# kolla_extend_start of all ironic images; kolla_ironic_extend_start is the image's
# own part.

. /usr/local/lib/kolla/extend_start_lib.sh

kolla_log_dir ironic ironic:kolla

# The conductor writes metrics here and the Prometheus exporter reads them.
metrics=/var/lib/ironic-metrics
if [[ ! -d ${metrics} ]]; then
    sudo mkdir -p "${metrics}"
fi
if [[ $(stat -c %U:%G "${metrics}") != ironic:ironic ]]; then
    sudo chown ironic:ironic "${metrics}"
fi
if [[ $(stat -c %a "${metrics}") != 2775 ]]; then
    sudo chmod 2775 "${metrics}"
fi

# shellcheck source=/dev/null
. /usr/local/bin/kolla_ironic_extend_start
