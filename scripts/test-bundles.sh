#!/usr/bin/env bash
# Interrupts real runs of save, load, load --push and copy, INTERRUPTIONS of each (200), or
# only those that ONLY names: save, load, push and copy, separated by spaces or commas. A
# failure does not end the run.
set -euo pipefail
cd "$(dirname "$0")/.."

only=${ONLY:-save load push copy}
save="" others=()
for name in ${only//,/ }; do
  case $name in
  save) save=1 ;;
  load | push | copy) others+=("${name^}") ;;
  *)
    echo "ONLY=$only: $name is none of save, load, push and copy" >&2
    exit 2
    ;;
  esac
done

export KOLLA_TEST_INTERRUPTIONS=${INTERRUPTIONS:-200} KOLLA_TEST_REQUIRE=1
run() { "${GO:-go}" test "$1" -run "$2" -count=1 -v -timeout 120m; }

status=0
if [ -n "$save" ]; then
  run ./pkg/bundle 'TestInterruptedSave$' || status=1
fi
if [ ${#others[@]} -gt 0 ]; then
  pattern=$(IFS='|' && echo "${others[*]}")
  run ./internal/interrupt "TestInterrupted\$/^($pattern)\$" || status=1
fi
exit $status
