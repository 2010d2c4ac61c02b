#!/bin/bash
# kolla_ovn_extend_start of ovn-northd.

kolla_log_file openvswitch/ovn-northd.log openvswitch:openvswitch
