#!/bin/bash
# kolla_nova_extend_start of nova-compute.

mkdir -p /var/lib/nova/instances
