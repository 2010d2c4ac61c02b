#!/bin/bash
# kolla_ovn_extend_start of ovn-nb-db-server.

kolla_log_file openvswitch/ovn-nb-db.log openvswitch:openvswitch
