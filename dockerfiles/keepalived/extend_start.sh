#!/bin/bash
# kolla_extend_start of keepalived, which does not start while a pid file of its
# old self is there.

rm -f /run/keepalived.pid
