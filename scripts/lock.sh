#!/usr/bin/env bash
# Compiles requirements/*.txt: every version and hash, for every platform, without any registry's address.
set -euo pipefail
uv=$1
options=(--quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11)
# tpm is left to whoever has one: it is compiled on the spot and needs the TSS headers
extras=(--extra aws --extra azure --extra gcp --extra hsm --extra openbao --extra postgres --extra redis --extra s3 --extra zookeeper)
"$uv" pip compile "${options[@]}" pyproject.toml "${extras[@]}" -o requirements/product.txt
"$uv" pip compile "${options[@]}" pyproject.toml --all-extras --group dev --group bench -o requirements/dev.txt
"$uv" pip compile "${options[@]}" pyproject.toml requirements/demo.in --constraint requirements/dev.txt -o requirements/demo.txt
"$uv" pip compile "${options[@]}" requirements/tsc042.in -o requirements/tsc042.txt
"$uv" pip compile "${options[@]}" requirements/clients.in -o requirements/clients.txt
"$uv" pip compile "${options[@]}" requirements/emulators.in -o requirements/emulators.txt
"$uv" pip compile "${options[@]}" requirements/vault-clients.in -o requirements/vault-clients.txt
"$uv" pip compile "${options[@]}" requirements/uv.in -o requirements/uv.txt
if grep -nE 'https?://' requirements/*.txt; then
  echo "make lock: a lock holds an address" >&2
  exit 1
fi
