#!/bin/sh
# nightly.sh: what a CI job or a timer calls every night.
# usage: nightly.sh [option of kolla-build ...]
#
# All that is not given here comes from kolla-build.conf, see
# `kolla-build --generate-config`. The environment may set
#   KOLLA_BUILD  the program (default: kolla-build on PATH)
#   KOLLA_BUILD_DATA_DIR   where images and the builder's state lie, as --data-dir;
#                as an option it would not reach the clearing up
#   REPORTS      where reports go (default: ./reports); REPORTS/latest is the newest
#
# It ends as kolla-build does: 0 all good, 1 something failed, 2 a mistake in the
# command line, 75 the last night still runs, 130 interrupted. Reports are there in
# each of these cases but 2 and 75.
set -eu

kolla=${KOLLA_BUILD:-kolla-build}
reports=${REPORTS:-$PWD/reports}

status=0
"$kolla" nightly --report-dir "$reports" "$@" || status=$?

# A good night is the time to clear up. What is not freed tonight is tomorrow.
if [ "$status" = 0 ]; then
  "$kolla" gc --older-than 30 || echo "nightly.sh: clearing up failed; going on" >&2
fi
exit "$status"
