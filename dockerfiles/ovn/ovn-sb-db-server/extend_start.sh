#!/bin/bash
# kolla_ovn_extend_start of ovn-sb-db-server.

kolla_log_file openvswitch/ovn-sb-db.log openvswitch:openvswitch
