#!/bin/sh
# nightly.sh: what a CI job or a timer calls every night.
# usage: nightly.sh [option of kolla-build ...]
#
# All that is not given here comes from kolla-build.conf, see
# `kolla-build --generate-config`. The environment may set
#   KOLLA_BUILD  the program (default: kolla-build on PATH)
#   REPORTS      where reports go (default: ./reports); REPORTS/latest is the newest
#
# The exit status is that of kolla-build: 0 success, 1 something failed, 2 a mistake in
# the command line, 75 the last night is still running, 130 interrupted. There are
# reports in each of these cases except 2 and 75.
set -eu

kolla=${KOLLA_BUILD:-kolla-build}
reports=${REPORTS:-$PWD/reports}

status=0
"$kolla" nightly --report-dir "$reports" "$@" || status=$?

# Free disk space after a successful night, in the same data directory: the options that
# decide it are passed on. The loop rotates the arguments and keeps those.
if [ "$status" = 0 ]; then
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
  "$kolla" gc --older-than 30 "$@" || echo "nightly.sh: freeing disk space failed" >&2
fi
exit "$status"
