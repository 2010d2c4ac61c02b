#!/bin/bash
# kolla_extend_start of keepalived, which does not start if a killed container has left its
# pid file.

rm -f /run/keepalived.pid
