#!/usr/bin/env bash
# Compiles requirements/*.txt: every version and hash, for every platform, without any registry's address.
set -euo pipefail
uv=$1
options=(--quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11)
"$uv" pip compile "${options[@]}" pyproject.toml -o requirements/product.txt
"$uv" pip compile "${options[@]}" pyproject.toml --group dev --group bench -o requirements/dev.txt
"$uv" pip compile "${options[@]}" requirements/tsc042.in -o requirements/tsc042.txt
"$uv" pip compile "${options[@]}" requirements/uv.in -o requirements/uv.txt
if grep -nE 'https?://' requirements/*.txt; then
  echo "make lock: a lock holds an address" >&2
  exit 1
fi
