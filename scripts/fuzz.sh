#!/usr/bin/env bash
# fuzz.sh: run all fuzz targets, one after another, and print for each how many inputs were
# executed. A failing input is printed with the command that reproduces it.
#
#   TARGETS=REGEX     only these targets
#   EXECS=N           executions of each target, summed over all runs (default: 10000000)
#   SECONDS_EACH=N    time limit of each target in this run (default: 900)
#   PARALLEL=N        processes (default: one per core)
#   CORPUS=DIR        interesting inputs, and in the file "executions" the executions of each
#                     target in earlier runs; targets with the fewest run first
set -uo pipefail
cd "$(dirname "$0")/.."

targets=${TARGETS:-.}
execs=${EXECS:-10000000}
seconds=${SECONDS_EACH:-900}
parallel=${PARALLEL:-$(nproc)}
corpus=${CORPUS:-$PWD/bin/fuzz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Targets that write files do so in memory, where syncing them to disk costs nothing.
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
  # A target ends at EXECS or SECONDS_EACH, whichever comes first. By default, minimizing one
  # interesting input takes up to a minute, which leaves no time for others.
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
