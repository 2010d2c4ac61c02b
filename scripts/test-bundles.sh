#!/usr/bin/env bash
# test-bundles.sh: interrupt real runs of save, load, load --push and copy. After a failure it
# continues with the other commands.
#
#   INTERRUPTIONS=N           interruptions of each command (default: 200)
#   ONLY="save load push copy"    these commands only, separated by spaces or commas
set -euo pipefail
cd "$(dirname "$0")/.."

only=${ONLY:-save load push copy}
save="" others=()
for name in ${only//,/ }; do
  case $name in
  save) save=1 ;;
  load | push | copy) others+=("${name^}") ;;
  *)
    echo "ONLY=$only: unknown command $name, use save, load, push or copy" >&2
    exit 2
    ;;
  esac
done

export KOLLA_TEST_INTERRUPTIONS=${INTERRUPTIONS:-200} KOLLA_TEST_REQUIRE=1
run() { "${GO:-go}" test "$1" -run "$2" -count=1 -v -timeout 120m; }

status=0
if [ -n "$save" ]; then
  run ./pkg/bundle/save 'TestInterruptedSave$' || status=1
fi
if [ ${#others[@]} -gt 0 ]; then
  pattern=$(IFS='|' && echo "${others[*]}")
  run ./internal/interrupt "TestInterrupted\$/^($pattern)\$" || status=1
fi
exit $status
