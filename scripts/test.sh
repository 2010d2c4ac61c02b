#!/usr/bin/env bash
# test.sh: run all tests. As root, a missing program is a failure; otherwise, tests that need
# root or a missing program are skipped with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
export KOLLA_TEST_BUILDKITD=$PWD/bin/buildkitd
if [ "$(id -u)" = 0 ]; then
  export KOLLA_TEST_REQUIRE=1
else
  echo "not root: tests that start a builder or bootstrap a base image are skipped"
fi
# -count=1: Go's test cache does not know about the programs and daemons that tests run.
# -p 2: many packages start builders, which need memory and CPU.
exec go test -p 2 -count=1 -timeout 60m ./... "$@"
