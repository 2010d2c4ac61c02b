#!/usr/bin/env bash
# test-kolla.sh: compare kolla-build with OpenStack Kolla's Python tool. Prints a line for each
# compared command line, and both outputs if they differ.
#
#   KOLLA_CHECKOUT=DIR   work tree of openstack/kolla, branch master
#   KOLLA_GIT=DIR        clone of openstack/kolla, to compare its stable branches too
#   RUN=PATTERN          only these tests (go test -run), such as TestKollaBranches/2025.1
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d "${KOLLA_CHECKOUT:-}/kolla" ] || { echo "set KOLLA_CHECKOUT to a work tree of openstack/kolla"; exit 1; }
KOLLA_CHECKOUT=$(realpath "$KOLLA_CHECKOUT")
export KOLLA_CHECKOUT KOLLA_TREE=$KOLLA_CHECKOUT/kolla/docker
[ -z "${KOLLA_GIT:-}" ] || export KOLLA_GIT

status=0
# go test prints results of a single package at once, but those of several only at their end.
for package in ./cmd/kolla-build ./pkg/config ./pkg/facts ./pkg/jinja ./pkg/render ./dockerfiles; do
  go test -v -count=1 -timeout 3h "$package" -run "${RUN:-TestKolla|TestAgainstOslo|AsUpstream|TestFunctionsAsPython}" |
    grep -a --line-buffered -vE '^=== ' || status=1
done
exit $status
