#!/usr/bin/env bash
# Runs every fuzz target, or those that match TARGETS, one after the other, until each has
# had EXECS executions in all runs together: SECONDS_EACH seconds at most in this run, with
# PARALLEL processes. Prints a line for each with its executions in this run and in all, and
# a failing input with the command that repeats it.
#
# CORPUS keeps the inputs that were found and, in the file "executions", the executions of
# each target so far. Those that had the fewest come first.
set -uo pipefail
cd "$(dirname "$0")/.."

targets=${TARGETS:-.}
execs=${EXECS:-10000000}
seconds=${SECONDS_EACH:-900}
parallel=${PARALLEL:-$(nproc)}
corpus=${CORPUS:-$PWD/bin/fuzz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Targets that need files have them in memory, where writing them safely costs nothing.
[ -w /dev/shm ] && memory=$(mktemp -d -p /dev/shm) && trap 'rm -rf "$work" "$memory"' EXIT
mkdir -p "$corpus"
totals=$corpus/executions
touch "$totals"

total_of() { awk -v t="$1" '$1 == t { n = $2 } END { print n + 0 }' "$totals"; }

add_to_total() {
  awk -v t="$1" -v n="$2" '$1 == t { $2 += n; found = 1 } { print } END { if (!found) print t, n }' "$totals" |
    sort >"$work/totals" && mv "$work/totals" "$totals"
}

list_targets() {
  grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+\(' pkg internal cmd | while IFS=: read -r file line; do
    target=$(dirname "$file").$(sed -E 's/^func (Fuzz[A-Za-z0-9]+).*/\1/' <<<"$line")
    [[ "$target" =~ $targets ]] && echo "$(total_of "$target") $target"
  done | sort -n
}

status=0 built=""
while read -r total target; do
  [ "$total" -ge "$execs" ] && continue
  package=${target%.*} name=${target##*.}
  if [ "$built" != "$package" ]; then
    go test -c -fuzz=. -o "$work/fuzz.test" "./$package" || { status=1; continue; }
    built=$package
  fi
  # A target ends by the number of its executions or by the clock, whatever comes first.
  # Minimizing each interesting input for a minute, the default, leaves no time for others.
  log=$work/log
  (cd "$package" && TMPDIR=${memory:-$work} timeout --signal=INT --kill-after=60 "$seconds" "$work/fuzz.test" -test.run='^$' -test.fuzz="^$name\$" -test.parallel="$parallel" \
    -test.fuzztime="$((execs - total))x" -test.fuzzminimizetime=20x -test.fuzzcachedir="$corpus/$package") >"$log" 2>&1
  count=$(grep -oE 'execs: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
  add_to_total "$target" "${count:-0}"
  result="$target ${count:-0}, $(total_of "$target") in all"
  if grep -qE '^\s*--- FAIL' "$log"; then
    status=1
    echo "$result, FAILED"
    cat "$log"
  else
    echo "$result"
  fi
done < <(list_targets)
exit $status
