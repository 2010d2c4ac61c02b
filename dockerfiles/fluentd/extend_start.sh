#!/bin/bash
# kolla_extend_start of fluentd. All services write below /var/log/kolla, and
# Fluentd reads what they write.

if [[ $(stat -c %U:%G /var/log/kolla) != fluentd:kolla ]]; then
    sudo chown fluentd:kolla /var/log/kolla
fi
if [[ $(stat -c %a /var/log/kolla) != 2775 ]]; then
    sudo chmod 2775 /var/log/kolla
fi
if [[ -d /var/lib/fluentd && $(stat -c %U:%G /var/lib/fluentd) != fluentd:kolla ]]; then
    sudo chown fluentd:kolla /var/lib/fluentd
fi
