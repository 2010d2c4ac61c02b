#!/usr/bin/env bash
# check.sh: run the quick tests (what -short leaves) for `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
# They write thousands of small files. In memory, that takes half of the system time;
# `make test` uses the disk. The name is always the same: it is part of the test cache's key.
memory=/dev/shm
if [ -w $memory ] && [ -z "$(findmnt -no OPTIONS $memory | grep -w noexec)" ] && [ "$(df --output=avail -m $memory | tail -1)" -gt 2000 ]; then
  dir=$memory/kolla-build-check-$(id -u)
  mkdir -p "$dir"
  # Anyone may make files there: another user could have made this one.
  if [ -O "$dir" ] && [ ! -L "$dir" ]; then
    find "$dir" -mindepth 1 -maxdepth 1 -mmin +60 -exec rm -rf {} + # of runs that were killed
    export TMPDIR=$dir
  fi
fi
# The tests of these packages run the program for minutes. With -short nothing, or next to
# nothing, is left of them, and linking them takes seconds.
slow='/internal/(faults|hostile|interrupt)$'
packages=$($go list ./... | grep -vE "$slow")
# -vet=off: `go vet ./...` has run before. Linking is a third of the work, and a fifth of that
# is garbage collection with Go's default. The tests keep the default. With -exec, Go would not
# keep the results of tests. Go does not notice programs that are installed later: after
# `make deps`, `go clean -testcache` runs the tests again that were skipped without them.
quick=("$go" test -short -vet=off -toolexec 'env GOGC=400' "$@")
# shellcheck disable=SC2086 # words
"${quick[@]}" $packages
"${quick[@]}" -race ./pkg/build ./pkg/plan ./pkg/graph
