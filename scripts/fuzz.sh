#!/usr/bin/env bash
# Runs every fuzz target, or those that match TARGETS, one after the other: EXECS executions
# each, SECONDS_EACH seconds at most. Prints a line for each with its executions, and a
# failing input with the command that repeats it. Corpora are kept in CORPUS.
set -uo pipefail
cd "$(dirname "$0")/.."

targets=${TARGETS:-.}
execs=${EXECS:-10000000}
seconds=${SECONDS_EACH:-900}
corpus=${CORPUS:-$PWD/bin/fuzz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$corpus"

status=0
binary_of=""
while IFS=: read -r file line; do
  package=$(dirname "$file")
  name=$(sed -E 's/^func (Fuzz[A-Za-z0-9]+).*/\1/' <<<"$line")
  [[ "$package.$name" =~ $targets ]] || continue
  if [ "$binary_of" != "$package" ]; then
    go test -c -fuzz=. -o "$work/fuzz.test" "./$package" || { status=1; continue; }
    binary_of=$package
  fi
  # A target ends by the number of its executions or by the clock, whatever comes first.
  # Minimizing each interesting input for a minute, the default, leaves no time for others.
  log=$work/log
  (cd "$package" && timeout --signal=INT --kill-after=60 "$seconds" "$work/fuzz.test" -test.run='^$' -test.fuzz="^$name\$" \
    -test.fuzztime="${execs}x" -test.fuzzminimizetime=20x -test.fuzzcachedir="$corpus/$package") >"$log" 2>&1
  done_=$(grep -oE 'execs: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
  if grep -qE '^\s*--- FAIL' "$log"; then
    status=1
    echo "$package.$name ${done_:-0} FAILED"
    cat "$log"
  else
    echo "$package.$name ${done_:-0}"
  fi
done < <(grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+\(' pkg internal cmd | sort)
exit $status
