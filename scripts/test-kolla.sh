#!/usr/bin/env bash
# test-kolla.sh: compare with OpenStack Kolla's Python tool. Prints a line for each command
# line when it has been compared, and the whole output of those that differ.
#
#   KOLLA_CHECKOUT=DIR   work tree of openstack/kolla, its master
#   KOLLA_GIT=DIR        clone of it with its stable branches, which are compared too
#   RUN=PATTERN          tests (go test -run), such as TestKollaBranches/2025.1
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d "${KOLLA_CHECKOUT:-}/kolla" ] || { echo "set KOLLA_CHECKOUT to a work tree of openstack/kolla"; exit 1; }
KOLLA_CHECKOUT=$(realpath "$KOLLA_CHECKOUT")
export KOLLA_CHECKOUT KOLLA_TREE=$KOLLA_CHECKOUT/kolla/docker
[ -z "${KOLLA_GIT:-}" ] || export KOLLA_GIT

status=0
# A package of its own shows its results at once; several show them when they have ended.
for package in ./cmd/kolla-build ./pkg/config ./pkg/facts ./pkg/jinja ./pkg/render ./dockerfiles; do
  go test -v -count=1 -timeout 3h "$package" -run "${RUN:-TestKolla|TestAgainstOslo|AsUpstream|TestFunctionsAsPython}" |
    grep --line-buffered -vE '^=== ' || status=1
done
exit $status
