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

echo "installing Debian packages: ${missing[*]}"
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "these packages are missing and there is no sudo; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
apt=("${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get)    # sudo keeps no variables
"${apt[@]}" -qq update
# how much that is, before it begins; --assume-no ends with 1
{ "${apt[@]}" install --assume-no --no-install-recommends "${missing[@]}" || true; } 2>/dev/null | grep -E '^(Need to get|After this)' || true
"${apt[@]}" -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
