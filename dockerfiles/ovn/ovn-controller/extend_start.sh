#!/bin/bash
# kolla_ovn_extend_start of ovn-controller.

kolla_log_file openvswitch/ovn-controller.log openvswitch:openvswitch
