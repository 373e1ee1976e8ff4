#!/usr/bin/env bash
# certificates.sh FOLDER SERVER… -- CLIENT…: an authority for ZooKeeper and its clients alone, and a certificate for each.
#
# A server is given by its name as in zoo.cfg, and gets FOLDER/<name>.pem; an address behind a comma is certified, too
# (zk1.example,10.0.0.1). A client is a node of strongroom, and gets FOLDER/<node>.pem. Each file has the key and the
# certificate. FOLDER/ca.pem goes to every machine; FOLDER/ca-key.pem stays where it was made, and signs nothing else.
# Called again, it keeps the authority and adds certificates. DAYS is how long they are valid.
set -euo pipefail
umask 077

folder=$1
shift
days=${DAYS:-365}
mkdir -p "$folder"
cd "$folder"

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [[ ! -e ca-key.pem ]]; then
  key ca-key.pem
  openssl req -x509 -new -key ca-key.pem -sha256 -days $((days * 5)) -subj "/CN=ZooKeeper of strongroom" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
fi

certify() { # NAME EXTENSIONS
  local name=$1
  key "$name.key"
  openssl req -new -key "$name.key" -subj "/CN=$name" |
    openssl x509 -req -CA ca.pem -CAkey ca-key.pem -set_serial "0x$(openssl rand -hex 16)" -sha256 -days "$days" \
      -extfile <(printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" "$2") \
      -out "$name.crt" 2>/dev/null
  cat "$name.key" "$name.crt" >"$name.pem"
  rm "$name.key" "$name.crt"
}

while [[ $# -gt 0 && $1 != -- ]]; do
  IFS=, read -ra words <<<"$1"
  names="DNS:${words[0]}"
  for address in "${words[@]:1}"; do names+=",IP:$address"; done
  # a server is a client of the other servers
  certify "${words[0]}" "extendedKeyUsage=serverAuth,clientAuth
subjectAltName=$names"
  shift
done
[[ $# -gt 0 ]] && shift
for client in "$@"; do certify "$client" "extendedKeyUsage=clientAuth"; done
