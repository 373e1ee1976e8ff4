#!/usr/bin/env bash
# Prints the Python that the environments are made from: $PYTHON, else the first of the usual names that is new enough.
set -euo pipefail
for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3}; do
  if path=$(command -v "$name") && "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$path"
    exit 0
  fi
done
echo "no Python 3.11 or newer was found; install one, or name it: make venv PYTHON=/path/to/python3" >&2
exit 1
