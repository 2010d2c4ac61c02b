#!/bin/sh
# nightly.sh: what a CI job or a timer calls every night.
# usage: nightly.sh [option of kolla-build ...]
#
# All that is not given here comes from kolla-build.conf, see
# `kolla-build --generate-config`. The environment may set
#   KOLLA_BUILD  the program (default: kolla-build on PATH)
#   REPORTS      where reports go (default: ./reports); REPORTS/latest is the newest
#
# The exit status is that of kolla-build: 0 after success, 1 if something failed, 2 for a
# mistake in the command line, 75 if the last night is still running, 129, 130 or 143 after
# SIGHUP, SIGINT or SIGTERM, and 126 or 127 if kolla-build cannot be started. There are no
# reports after 75, 126 and 127, nor for most mistakes in the command line.
#
# A signal to this shell is forwarded, and the shell waits until kolla-build has ended:
# systemd kills what is left when its main process, which is this shell, has ended.
set -eu

kolla=${KOLLA_BUILD:-kolla-build}
reports=${REPORTS:-$PWD/reports}

status=0
child=
caught=0
trap 'forward TERM' TERM
trap 'forward INT' INT
trap 'forward HUP' HUP

# forward NAME passes a signal on. Two in a row are one to kolla-build.
forward() {
  caught=$((caught + 1))
  signal=$1
  if [ -n "$child" ]; then
    kill -s "$signal" "$child" 2>/dev/null || :
  fi
}

# run COMMAND... runs a command and sets status. A signal ends wait, but not the command.
run() {
  "$@" <&0 &
  child=$!
  if [ "$caught" != 0 ]; then # a signal came before the command had a process id
    kill -s "$signal" "$child" 2>/dev/null || :
  fi
  waited=no
  while :; do
    seen=$caught
    ended=0
    wait "$child" || ended=$?
    # 127 in a later pass: the wait before has returned its status.
    if [ "$ended" != 127 ] || [ "$waited" = no ]; then
      status=$ended
    fi
    waited=yes
    if [ "$caught" = "$seen" ]; then break; fi
  done
  child=
}

run "$kolla" nightly --report-dir "$reports" "$@"

# Free disk space after a successful night, in the same data directory: the options that
# decide it are passed on. The loop rotates the arguments and keeps those.
if [ "$status" = 0 ] && [ "$caught" = 0 ]; then
  count=$#
  keep=no
  while [ "$count" -gt 0 ]; do
    arg=$1
    shift
    count=$((count - 1))
    case $arg in
      --config-file=* | --config-dir=* | --data-dir=*) set -- "$@" "$arg" ;;
      --config-file | --config-dir | --data-dir) set -- "$@" "$arg"; keep=yes; continue ;;
      *) if [ "$keep" = yes ]; then set -- "$@" "$arg"; fi ;;
    esac
    keep=no
  done
  run "$kolla" gc --older-than 30 "$@"
  if [ "$status" != 0 ] && [ "$caught" = 0 ]; then
    echo "nightly.sh: freeing disk space failed" >&2
    status=0
  fi
fi
exit "$status"
