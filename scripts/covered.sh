#!/usr/bin/env bash
# pytest with these arguments, measured: the product's code with probes, and what they marked as .coverage for `coverage report`.
set -euo pipefail

bin=.venv/bin
probes=$(mktemp -d)
trap 'rm -rf "$probes"' EXIT
rm -f .coverage .coverage.*
"$bin/python" -m tests.support.probes prepare "$probes"
code=0
COVERAGE_PROBES=$probes "$bin/python" -m pytest "$@" || code=$?
"$bin/python" -m tests.support.probes write "$probes"
"$bin/coverage" combine --quiet
exit "$code"
