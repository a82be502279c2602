#!/bin/bash
# ./bazelw run //testing/benchmarks:freeze_cost [-- --only=WORD] — see README.md.
set -euo pipefail
runfiles=${BASH_SOURCE[0]}.runfiles
[ -d "$runfiles" ] || runfiles=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export RUNFILES_DIR=$runfiles
here=$runfiles/watchsnap
out=${BUILD_WORKING_DIRECTORY:-$PWD}/benchmarks-out
mkdir -p "$out"
echo "runs in the emulated KVM host; figures are ratios within this run; JSON: $out/freeze_cost.json"
real() { readlink -f "$runfiles/$1"; }
"$here/testing/kvm_host/kvm_host" --writable="$out" --cpus=2 --memory-mb=4000 --env RUNFILES_DIR="$runfiles" -- \
  "$(real watchsnap/testing/benchmarks/freeze_cost_program)" --json="$out/freeze_cost.json" --scratch=/tmp \
  --watchsnap="$(real watchsnap/watchsnap)" --busy-guest="$(real watchsnap/testing/benchmarks/busy_guest)" \
  --vmlinux="$(real debian_kernel/vmlinux)" --image="$(real debian_kernel/vmlinuz)" "$@"
