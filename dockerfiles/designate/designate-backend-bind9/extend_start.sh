#!/bin/bash
# kolla_designate_extend_start of designate-backend-bind9.

kolla_log_dir named root:kolla
