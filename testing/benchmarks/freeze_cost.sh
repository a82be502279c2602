#!/bin/bash
# ./bazelw run //testing/benchmarks:freeze_cost [-- --only=WORD] — see README.md.
set -euo pipefail
runfiles=${BASH_SOURCE[0]}.runfiles
[ -d "$runfiles" ] || runfiles=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export RUNFILES_DIR=$runfiles
here=$runfiles/watchsnap
real() { readlink -f "$runfiles/$1"; }
program=$(real watchsnap/testing/benchmarks/freeze_cost_program)

only=
case "${1:-}" in
  "") ;;
  --only=?*) only=${1#--only=} ;;
  *) echo "usage: freeze_cost [--only=WORD of a row's name]; with --only=steps: the system calls of a freeze" >&2; exit 2 ;;
esac
list=$("$program" --list ${only:+"$only"})

out=${BUILD_WORKING_DIRECTORY:-$PWD}/benchmarks-out
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
touch "$work/rows.md" "$work/rows.jsonl"
echo "runs in the emulated KVM host; figures are ratios within one run; JSON: $out/freeze_cost.json"
# An emulated host each: it may hang or panic where two of its CPUs meet at a watched page (see kvm_host_test). Then once more.
while read -r seconds name; do
  for try in 1 2 3; do
    "$here/testing/kvm_host/kvm_host" --writable="$work" --cpus=2 --memory-mb=4000 --timeout="$seconds" \
      --env RUNFILES_DIR="$runfiles" -- "$program" --run="$name" --out="$work" --scratch=/tmp \
      --watchsnap="$(real watchsnap/watchsnap)" --busy-guest="$(real watchsnap/testing/benchmarks/busy_guest)" \
      --vmlinux="$(real debian_kernel/vmlinux)" --image="$(real debian_kernel/vmlinuz)" < /dev/null && break
    echo "$name: try $try of 3 did not end" >&2
    [ "$try" -lt 3 ] || echo "| $name | | | not measured | | the emulated host did not get through it in three tries |" >> "$work/rows.md"
  done
done <<< "$list"

echo
echo "| figure | against | to reach | ratio | reached | medians, with p99 |"
echo "| --- | --- | --- | --- | --- | --- |"
cat "$work/rows.md"
printf '{"schema":"watchsnap.benchmark/1","figures":[%s]}\n' "$(paste -sd, "$work/rows.jsonl")" > "$out/freeze_cost.json"
