#!/usr/bin/env bash
# The whole proof: format, lint, layers, types, all tests, measured, and the thresholds of coverage.
# Cheap checks come first. The last line is pytest's own closing line.
set -euo pipefail

bin=.venv/bin
workers=${WORKERS:-3}
log=$(mktemp)
again=$(mktemp)
beside=$(mktemp)
trap 'kill "${other:-}" 2>/dev/null || true; rm -f "$log" "$again" "$beside"' EXIT

section() { printf '\n== %s\n' "$1"; }

# each of these takes one processor for half a minute; pyright and the packages go beside the rest, and tell in one piece
(make --no-print-directory pyright && make --no-print-directory dist) >"$beside" 2>&1 &
other=$!

section "format, lint, layers, types"
make --no-print-directory lint types
# a fault is placed at the n-th call of a process: the first run after a clone must not open other files than the next
"$bin/python" -m compileall -q src tests

section "a second type checker; wheel and sdist: built alike, installed, tried"
wait "$other" || { cat "$beside"; exit 1; }
cat "$beside"

section "tests (with other people's tools, and a sample of the faults)"
# in the order of tests/support/unmeasured.py, and as written: modules share components that are slow to start; pytest
# called by hand shuffles
# the seed of every random choice stands in the header
failed=0
options=(--randomly-dont-reorganize --hypothesis-profile=ci -m "not cluster" --color=no)
# one process collects, and its forks run the tests (tests/support/workers.py)
bash scripts/covered.sh --cache-clear --workers "$workers" "${options[@]}" --costs=build/costs.tsv "$@" 2>&1 | tee "$log" || failed=1

if ((failed)); then
  section "what failed, once more and alone"
  "$bin/python" -m scripts.second_try "${options[@]}" 2>&1 | tee "$again" && failed=0
fi

section "coverage of lines and branches"
"$bin/coverage" report || failed=1
section "crypto, envelope, kms and secrets: all of it"
"$bin/coverage" report --fail-under=100 \
  --include='src/strongroom/crypto/*,src/strongroom/envelope/*,src/strongroom/kms/*,src/strongroom/secrets/*' || failed=1

section "pytest said"
grep -E '^(FAILED|ERROR) ' "$log" || true
grep -E '^(passed only|no second try)' "$again" || true
tail -n 1 "$log"
exit "$failed"
