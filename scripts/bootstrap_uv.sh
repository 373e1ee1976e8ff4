#!/usr/bin/env bash
# Makes a small environment that holds uv, checked by hash; everything else is installed by it.
set -euo pipefail
folder=$1 lock=$2
python=$(bash scripts/python.sh)
"$python" -m venv "$folder"
"$folder/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes --requirement "$lock"
