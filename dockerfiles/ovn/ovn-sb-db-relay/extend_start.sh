#!/bin/bash
# kolla_ovn_extend_start of ovn-sb-db-relay. Several of them run on one host, each
# with the RELAY_ID that the deployment gives it.

kolla_log_file "openvswitch/ovn-sb-relay-${RELAY_ID}.log" openvswitch:openvswitch
