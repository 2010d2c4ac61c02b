#!/bin/bash
# kolla_toolbox waits until the container is stopped: programs are run in it.

trap 'exit 0' TERM QUIT INT

# A signal is handled at once only while the shell itself waits.
sleep infinity &
wait
