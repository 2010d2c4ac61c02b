#!/bin/bash
#
# socat_wrapper ARGUMENT... runs socat, and terminates it when the container is stopped. On
# its own, socat with "fork" would wait for its connections.

trap 'kill "${child}" 2> /dev/null; exit 0' TERM QUIT INT

socat "$@" &
child=$!
wait "${child}"
