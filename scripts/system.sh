#!/usr/bin/env bash
# Installs the Debian packages of a list whose command is missing; does nothing, quickly, when all are there.
set -euo pipefail

list=$1
missing=()
present() {
  case $1 in
    :ensurepip) python=$(bash scripts/python.sh 2>/dev/null) && "$python" -c 'import ensurepip, venv' 2>/dev/null ;;
    :certificates) [[ -s /etc/ssl/certs/ca-certificates.crt ]] ;;
    :headers) python=$(bash scripts/python.sh 2>/dev/null) && "$python" -c 'import os, sysconfig as s; raise SystemExit(not os.path.exists(os.path.join(s.get_paths()["include"], "Python.h")))' 2>/dev/null ;;
    /*) [[ -e $1 ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}
while read -r package command; do
  [[ -z $package || $package == \#* ]] && continue
  present "$command" || missing+=("$package")
done <"$list"
((${#missing[@]})) || exit 0

echo "installing: ${missing[*]}"
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "make venv: these packages are missing and there is no sudo; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
