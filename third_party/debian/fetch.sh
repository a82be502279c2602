#!/usr/bin/env bash
# Resolves and fetches Debian packages with the machine's own package client, without root and without touching the system: the
# client's state (sources, lists, caches) is private to the watchsnap cache folder. Called by the repository rules in debian.bzl.
#
#   fetch.sh source  ARCH SUITES OUT PACKAGE…   upstream tarballs of source packages, into the folder OUT
#   fetch.sh binary  ARCH SUITES OUT PACKAGE…   .deb files of exactly these packages, into OUT
#   fetch.sh closure ARCH SUITES OUT PACKAGE…   .deb files of these and of all that they depend on, down to the C library
#   fetch.sh show    ARCH SUITES FIELD PACKAGE  prints one field of a package's record
#
# SUITES is a comma-separated list; a PACKAGE may be name/suite. A closure prefers the last suite of the list.
# OUT/resolved.txt names what was fetched: file, size, SHA-256.
#
# Files are kept in ${WATCHSNAP_CACHE:-${XDG_CACHE_HOME:-~/.cache}/watchsnap}/downloads under the names the archive gives them, shared by
# all checkouts of this user, checked against the hash in the archive's signed index before each use. Two runs at once are safe:
# package lists and downloads are locked, and files appear under their name only when complete.
set -euo pipefail

kind=$1 arch=$2 suites=$3 out=$4
shift 4

say() { echo "watchsnap: $*" >&2; }
die() {
  say "$*"
  exit 1
}

command -v apt-get >/dev/null || die "fetching $* needs Debian's package client (apt-get), which this machine lacks."

cache=${WATCHSNAP_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set WATCHSNAP_CACHE to a folder for downloads}/.cache}/watchsnap}
state=$cache/apt/$kind-$arch-${suites//,/+}
[[ $kind == source ]] || state=$cache/apt/binary-$arch-${suites//,/+}
downloads=$cache/downloads
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$downloads" ||
  die "the download folder $cache cannot be written; set WATCHSNAP_CACHE to one that can."

options=(
  -q
  -o "Dir::Etc::sourcelist=$state/sources.list"
  -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferences=/dev/null
  -o Dir::Etc::preferencesparts=/dev/null
  -o "Dir::State::lists=$state/lists"
  -o "Dir::State::status=$state/status"
  -o "Dir::State::extended_states=$state/extended_states"
  -o "Dir::Cache=$state/cache"
  -o APT::Sandbox::User=root
  -o "APT::Architecture=$arch"
  -o "APT::Architectures=$arch"
  -o Acquire::Languages=none
  -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
  -o Acquire::Retries=2
  -o APT::Update::Error-Mode=any
)

# The mirror is the machine's own. A machine may have other sources besides Debian's, and several of Debian's.
mirror() {
  local filter uri
  for filter in "Codename: bookworm" "Origin: Debian"; do
    uri=$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(SUITE)' 'Created-By: Packages' 'Component: main' "$filter" 2>/dev/null |
      grep -vi security | cut -d' ' -f1 | head -n1) || true
    [[ -n $uri ]] && { echo "$uri"; return; }
  done
  # A system whose lists were never fetched has no index targets with those fields: go by the sources alone.
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null |
    grep -i debian | grep -vi security | head -n1) || true
  [[ -n $uri ]] || die "no Debian archive among this machine's package sources (apt-get indextargets): add one for bookworm main."
  echo "$uri"
}

# Fetches the suites' package lists unless they are recent. Where the archive cannot be reached, older lists serve.
offline=
refresh() {  # refresh [force]
  local uri type=deb suite
  exec 9>"$state/lock"
  flock 9
  if [[ ${1:-} != force && -e $state/updated && -n $(find "$state/updated" -mmin -360) ]]; then
    flock -u 9
    return
  fi
  uri=$(mirror)
  [[ $kind == source ]] && type=deb-src
  : >"$state/status"
  for suite in ${suites//,/ }; do
    echo "$type [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
  done >"$state/sources.list"
  if apt-get "${options[@]}" update >"$state/update.log" 2>&1; then
    touch "$state/updated"
  else
    offline=1
    if [[ -e $state/updated ]]; then
      say "the package archive cannot be reached; going by its lists of $(date -r "$state/updated" '+%F %H:%M')."
    else
      say "the package archive cannot be reached and its lists were never fetched; looking for what was downloaded before."
      tail -n 3 "$state/update.log" >&2
    fi
  fi
  flock -u 9
}

# What the package client would install for these packages on a system that has none, as name=version. It prints hashes only for
# what it is asked to download, hence two steps.
closure_of() {
  apt-get "${options[@]}" install --no-install-recommends --yes --target-release "${suites##*,}" --print-uris "$@" |
    sed -nE "s/^'[^']*' ([^_ ]+)_([^_ ]+)_[^ ]+\.deb .*/\1=\2/p" | sed 's/%3a/:/'
}

# Prints "file size sha256" of everything the request stands for.
resolve() {
  local verb=(download)
  [[ $kind == source ]] && verb=(source --download-only --tar-only)
  # shellcheck disable=SC2046
  [[ $kind == closure ]] && set -- $(closure_of "$@" 2>"$state/resolve.err")
  (($#)) || return 1
  apt-get "${options[@]}" "${verb[@]}" --print-uris "$@" 2>>"$state/resolve.err" |
    sed -nE "s/^'[^']*' ([^ ]+) ([0-9]+) SHA256:([0-9a-f]+)\$/\1 \2 \3/p"
}

# Where no list is there to go by: the newest file of that name. Its hash was checked when it was downloaded.
resolve_blindly() {
  local package file
  for package in "$@"; do
    file=$(cd "$downloads" && ls -t -- "${package%%/*}"_* 2>/dev/null | head -n1) || true
    [[ -n $file ]] || return 1
    echo "$file $(stat -c %s "$downloads/$file") $(sha256sum <"$downloads/$file" | cut -d' ' -f1)"
  done
}

intact() {  # intact FILE SIZE SHA256
  [[ -e $1 && $(stat -c %s "$1") == "$2" && $(sha256sum <"$1" | cut -d' ' -f1) == "$3" ]]
}

megabytes() { echo "$((($1 + 999999) / 1000000)) MB"; }

# Prints a line each tenth of the way while process $1 fills folder $2 up to $3 bytes.
report_progress() {
  local got tenth=0 now start=$SECONDS
  while kill -0 "$1" 2>/dev/null; do
    sleep 0.3
    got=$(du -sb "$2" 2>/dev/null | cut -f1) || true
    now=$((${got:-0} * 10 / $3))
    if ((now > tenth && now < 10)); then
      tenth=$now
      say "  $(megabytes "${got:-0}") of $(megabytes "$3"), ${tenth}0 %, $((SECONDS - start)) s"
    fi
  done
}

# Reads "file size sha256 spec" lines; sees to it that all these files are in $downloads, whole.
download_missing() {
  local file size hash spec dir pid rc=0 total=0 start=$SECONDS
  local -a missing=() specs=()
  local -A sizes=() hashes=()
  exec 8>"$state/download.lock"
  flock 8
  while read -r file size hash spec; do
    if intact "$downloads/$file" "$size" "$hash"; then
      [[ -z $offline ]] || say "using $file as downloaded before."
      continue
    fi
    missing+=("$file")
    specs+=("$spec")
    sizes[$file]=$size hashes[$file]=$hash
    total=$((total + size))
  done
  if ((${#missing[@]} == 0)); then
    flock -u 8
    return 0
  fi
  dir=$(mktemp -d "$downloads/.partial-XXXXXX")
  (
    cd "$dir"
    if [[ $kind == source ]]; then verb=(source --download-only --tar-only); else verb=(download); fi
    exec apt-get "${options[@]}" -o "Dir::Cache::archives=$dir" "${verb[@]}" "${specs[@]}" >"$dir/.log" 2>&1 8>&- 9>&-
  ) &
  pid=$!
  if ((total > 20000000)); then
    if ((${#missing[@]} == 1)); then file=${missing[0]}; else file="${#missing[@]} packages"; fi
    say "downloading $file, $(megabytes "$total"), into $downloads"
    report_progress $pid "$dir" "$total"
  fi
  wait $pid || rc=$?
  for file in "${missing[@]}"; do
    if intact "$dir/$file" "${sizes[$file]}" "${hashes[$file]}"; then
      mv "$dir/$file" "$downloads/$file"
    else
      say "downloading $file failed (apt-get exit $rc):"
      tail -n 4 "$dir/.log" >&2 || true
      rc=failed
      break
    fi
  done
  rm -rf "$dir"
  flock -u 8
  [[ $rc != failed ]] || return 1
  ((total <= 20000000)) || say "  complete, $((SECONDS - start)) s"
}

# The archive's file name begins with the package's name; a source package's files are fetched by the package.
spec_of() {  # spec_of FILE PACKAGE…: what to ask the package client for to get FILE
  local file=$1 package version
  shift
  if [[ $kind == closure ]]; then
    version=${file#*_}
    version=${version%_*}
    echo "${file%%_*}=${version//%3a/:}"
    return
  fi
  for package in "$@"; do
    [[ $file == "${package%%/*}"_* ]] && { echo "$package"; return; }
  done
  echo "$1"
}

refresh
if [[ $kind == show ]]; then
  apt-cache "${options[@]}" show "$1" | sed -n "s/^$out: //p" | head -n1
  exit
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
try() {
  local files file size hash
  : >"$state/resolve.err"
  files=$(resolve "$@") || true
  [[ -n $files ]] || files=$(resolve_blindly "$@") || return 1
  while read -r file size hash; do
    echo "$file $size $hash $(spec_of "$file" "$@")"
  done <<<"$files" | download_missing || return 1
  while read -r file size hash; do
    ln -f "$downloads/$file" "$out/$file" 2>/dev/null || cp "$downloads/$file" "$out/$file"
  done <<<"$files"
  echo "$files" >"$out/resolved.txt"
}

if ! try "$@"; then
  # The archive replaces packages: a list that is some hours old may name a file that is gone.
  refresh force
  try "$@" || {
    cat "$state/resolve.err" >&2 || true
    die "cannot get $* of Debian $suites ($arch), neither from the package archive nor from $downloads."
  }
fi
