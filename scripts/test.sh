#!/usr/bin/env bash
# test.sh: run all tests. As root nothing may be skipped for want of a program;
# without root, what needs a builder or a bootstrap is skipped with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
export KOLLA_TEST_BUILDKITD=$PWD/bin/buildkitd
if [ "$(id -u)" = 0 ]; then
  export KOLLA_TEST_REQUIRE=1
else
  echo "not root: tests that start a builder or bootstrap a base image are skipped"
fi
# Not from go's cache: it does not see the programs and daemons that tests run.
# Two packages at once: they start builders, and two cores are few.
exec go test -p 2 -count=1 -timeout 40m ./... "$@"
