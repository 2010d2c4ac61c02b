#!/bin/bash
# kolla_ovn_extend_start of ovn-sb-db-relay. A host may run several relays, each with its own
# RELAY_ID.

kolla_log_file "openvswitch/ovn-sb-relay-${RELAY_ID}.log" openvswitch:openvswitch
