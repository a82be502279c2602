#!/bin/bash
# ./bazelw run //:demo — the whole of watchsnap on the distribution's stock kernel, in a minute.
set -euo pipefail
runfiles=${BASH_SOURCE[0]}.runfiles
[ -d "$runfiles" ] || runfiles=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
find_one() { find -L "$runfiles" -maxdepth 3 -path "$1" -print -quit; }
program=$(find_one '*/watchsnap/watchsnap')
vmlinux=$(find_one '*/debian_kernel/vmlinux')
image=$(find_one '*/debian_kernel/vmlinuz')
for part in "$program" "$vmlinux" "$image"; do
  [ -n "$part" ] || { echo "demo: run it as './bazelw run //:demo'" >&2; exit 2; }
done
cat <<'TEXT'
watchsnap demo: boots the distribution's stock kernel on 2 vCPUs, with KASLR, and stops it at every
write to jiffies_64 (the clock tick) and to total_forks for 5 seconds. Each line below is one write:
when, on which vCPU, from which value to which, which instruction of the kernel wrote it, and how long
the guest stood still for it.

TEXT
export RUNFILES_DIR=$runfiles  # where the program finds the emulated KVM host
exec "$(readlink -f "$program")" run --vmlinux "$(readlink -f "$vmlinux")" --kernel "$(readlink -f "$image")" \
  --cpus 2 --watch jiffies_64,total_forks --duration 5 --name demo --append quiet "$@"
