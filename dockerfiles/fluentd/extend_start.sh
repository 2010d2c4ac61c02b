#!/bin/bash
# kolla_extend_start of fluentd, which reads the logs of all services in /var/log/kolla.

if [[ $(stat -c %U:%G /var/log/kolla) != fluentd:kolla ]]; then
    sudo chown fluentd:kolla /var/log/kolla
fi
if [[ $(stat -c %a /var/log/kolla) != 2775 ]]; then
    sudo chmod 2775 /var/log/kolla
fi
if [[ -d /var/lib/fluentd && $(stat -c %U:%G /var/lib/fluentd) != fluentd:kolla ]]; then
    sudo chown fluentd:kolla /var/lib/fluentd
fi
