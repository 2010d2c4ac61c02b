#!/bin/bash
# kolla_toolbox waits until the container is stopped. Deployments run programs in it.

trap 'exit 0' TERM QUIT INT

# The shell handles a signal immediately only in "wait".
sleep infinity &
wait
