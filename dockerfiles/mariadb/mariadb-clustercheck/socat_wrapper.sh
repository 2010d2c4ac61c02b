#!/bin/bash
#
# socat_wrapper ARGUMENT... runs socat and ends it when the container is stopped:
# socat with "fork" would wait for its connections.

trap 'kill "${child}" 2> /dev/null; exit 0' TERM QUIT INT

socat "$@" &
child=$!
wait "${child}"
