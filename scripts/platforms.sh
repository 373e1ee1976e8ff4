#!/usr/bin/env bash
# The README's two commands in fresh Debian trees, with nothing of the caller's environment: as root, and as a user with sudo.
# Needs root, debootstrap and some 6 GB on the disk. A tree is made for each release and user, and removed afterwards.
#
#   PLATFORMS        releases of Debian (default: bookworm trixie)
#   PLATFORM_USERS   root, or a user with sudo (default: root user)
#   PLATFORM_STEPS   commands of the README (default: demo test)
#   PLATFORM_BASES   a folder in which bare trees, and the logs of what failed, are kept; without it none are
#   PLATFORM_MIRROR  where debootstrap finds Debian (default: what this machine's apt uses)
set -euo pipefail

root=$(git rev-parse --show-toplevel)
work=$(mktemp -d -t strongroom-platforms-XXXXXX)
bases=${PLATFORM_BASES:-$work/bases}
failed=0

if ((EUID != 0)); then
  echo "make platforms: only root can make a Debian tree" >&2
  exit 2
fi
command -v debootstrap >/dev/null || apt-get -qq install --yes debootstrap >/dev/null
trap 'rm -rf --one-file-system "$work"' EXIT

mirror() {
  [[ -n ${PLATFORM_MIRROR:-} ]] && { echo "$PLATFORM_MIRROR"; return; }
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -m 1 debian && return
  echo "make platforms: apt names no mirror of Debian; set PLATFORM_MIRROR" >&2
  return 1
}

# what a person has who was given a fresh machine: Debian's smallest system, Python, make, git and sudo
base() {
  local release=$1
  [[ -e $bases/$release/.whole ]] && return
  rm -rf --one-file-system "${bases:?}/$release"
  mkdir -p "$bases"
  debootstrap --variant=minbase --include=ca-certificates,python3,make,git,sudo "$release" "$bases/$release" "$(mirror)" >"$work/debootstrap.log" \
    || { tail -n 5 "$work/debootstrap.log" >&2; return 1; }
  touch "$bases/$release/.whole"
}

# how the machine reaches its package indexes is no part of what is tested
settle() {
  local tree=$1 path
  for path in /etc/resolv.conf /etc/hosts /etc/pip.conf "$HOME/.config/pip/pip.conf"; do
    [[ -e $path ]] && install -D -m 644 "$path" "$tree$path"
  done
  install -d "$tree/usr/local/share/ca-certificates"
  cp -L /usr/local/share/ca-certificates/*.crt "$tree/usr/local/share/ca-certificates/" 2>/dev/null || true
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] && cp -L /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
  chroot "$tree" useradd --create-home --shell /bin/bash --groups sudo ann
  echo 'ann ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/ann"
}

# by these, package clients find certificates; nothing else of the caller's environment is handed on
kept=()
for name in SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE PIP_CERT PIP_INDEX_URL UV_DEFAULT_INDEX http_proxy https_proxy no_proxy; do
  [[ -n ${!name:-} ]] && kept+=("$name=${!name}")
done

# runs a command in a tree, in namespaces of its own: its processes and mounts end with it
inside() {
  local tree=$1 user=$2 home=$3
  shift 3
  unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    tree=$1 user=$2 home=$3 command=$4
    shift 4
    mount --make-rprivate /
    # a root directory that is no mount point, as no machine has, keeps processes inside from namespaces of their own
    mount --rbind "$tree" "$tree"
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs tmpfs "$tree/run"
    exec chroot "$tree" setpriv --reuid "$user" --regid "$user" --init-groups -- env -i HOME="$home" USER="$user" LOGNAME="$user" \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb "$@" bash -c "cd && cd strongroom && $command"
  ' - "$tree" "$user" "$home" "$1" "${kept[@]}" </dev/null
}

packages() { chroot "$1" dpkg-query -W -f '${Package}\n' | sort; }

# the first second in which the command said something, and all of them
timed() {
  local log=$1 begun first=
  shift
  begun=$(date +%s%N)
  set +e
  "$@" 2>&1 | while IFS= read -r line; do
    [[ -z $first ]] && first=$((($(date +%s%N) - begun) / 100000000)) && echo "first $first" >"$log.times"
    printf '%s\n' "$line" >>"$log"
  done
  local code=${PIPESTATUS[0]}
  set -e
  echo "all $((($(date +%s%N) - begun) / 1000000000))" >>"$log.times"
  return "$code"
}

try() {
  local release=$1 user=$2 step=$3 tree=$4 home=$5 code=0 log
  log=$work/$release-$user-$step.log
  packages "$tree" >"$work/before"
  timed "$log" inside "$tree" "$user" "$home" "make $step" || code=$?
  packages "$tree" >"$work/after"
  local first all
  first=$(awk '/^first/ { printf "%.1f", $2 / 10 }' "$log.times")
  all=$(awk '/^all/ { print $2 }' "$log.times")
  printf '\n%s, %s, make %s: exit %s; first output after %s s, %s s in all\n' "$release" "$user" "$step" "$code" "$first" "$all"
  printf '  Debian packages installed: %s\n' "$(comm -13 "$work/before" "$work/after" | wc -l) ($(grep -m 1 -oP '(?<=^installing Debian packages: ).*' "$log" || echo none asked for))"
  printf '  environments: %s\n' "$(du -sm "$tree$home"/strongroom/.venv* | awk '{ n = split($2, part, "/"); printf "%s %s MB  ", part[n], $1 }')"
  printf '  said: %s\n' "$(tail -n 1 "$log")"
  if ((code)); then
    failed=1
    grep -E '^(FAILED|ERROR) ' "$log" || tail -n 15 "$log"
    if [[ -n ${PLATFORM_BASES:-} ]]; then cp "$log" "$PLATFORM_BASES/"; fi
  fi
}

for release in ${PLATFORMS:-bookworm trixie}; do
  base "$release"
  for user in ${PLATFORM_USERS:-root user}; do
    name=root home=/root
    [[ $user == root ]] || { name=ann home=/home/ann; }
    tree=$work/$release-$user
    cp -a --reflink=auto "$bases/$release" "$tree"
    settle "$tree"
    git clone --quiet --no-hardlinks "$root" "$tree$home/strongroom"
    chroot "$tree" chown -R "$name:" "$home/strongroom"
    for step in ${PLATFORM_STEPS:-demo test}; do
      try "$release" "$name" "$step" "$tree" "$home"
    done
    rm -rf --one-file-system "$tree"
  done
done
exit "$failed"
