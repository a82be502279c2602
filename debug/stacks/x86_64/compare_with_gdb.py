"""Compares stacks that live_stacks wrote as cores with gdb's.

    kvm_host --writable=CORES -- live_stacks VMLINUZ VMLINUX BUSY_GUEST CORES
    compare_with_gdb.py VMLINUX CORES

gdb unwinds C by .debug_frame, an independent source. It knows neither the entry code in assembly nor the switch to the
IRQ stack: a core's stack is compared up to where gdb has no more names ("??"), and what was interrupted is a core of its
own (name.1, name.2). Inlined functions, which gdb shows as frames of their own, are left out. Prints a line a core and
exits with 1 if a function differs.
"""
import glob
import os
import re
import subprocess
import sys

# What gdb cannot unwind from, having no call frame information: assembly.
ASSEMBLY = re.compile(r"^(asm_|entry_|ret_from_fork_asm|rep_|__x86_|__put_user|__get_user|memcpy|memset|clear_page|copy_)")


def plain(name):
    return re.sub(r"\.(cold|isra|part|constprop|\d+)\b(\.\d+)?", "", name)


def main():
    vmlinux, folder = sys.argv[1:]
    cores = sorted(glob.glob(os.path.join(folder, "*.core")))
    command = ["gdb", "-nx", "-batch", "-iex", "set auto-load off", vmlinux, "-ex", "set backtrace limit 100"]
    for core in cores:
        command += ["-ex", "echo \\n=== %s\\n" % os.path.basename(core), "-ex", "core-file " + core, "-ex", "echo begin\\n", "-ex", "bt"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    equal = interrupted = different = 0
    for section in output.split("\n=== ")[1:]:
        name, text = section.split("\n", 1)
        text = text.split("\nbegin\n", 1)[-1]
        gdb = [plain(m.group(2)) for m in re.finditer(r"^#(\d+)\s+(?:0x[0-9a-f]+ in )?(\S+)", text, re.M)]
        with open(os.path.join(folder, name[:-5] + ".txt"), encoding="utf-8") as file:
            lines = [line for line in file.read().split("\n") if line and line[0] not in "[-"]
        ours = [plain(line.split("+")[0]) for line in lines]
        at = matched = 0
        for function in ours:
            found = next((i for i in range(at, len(gdb)) if gdb[i] == function), None)
            if found is None:
                break
            at, matched = found + 1, matched + 1
        whole = matched == len(ours)
        # gdb gave up: nothing more, or no name; or it lost its way in assembly.
        lost = matched > 0 and (at >= len(gdb) or gdb[at] == "??" or ASSEMBLY.match(ours[matched - 1]) is not None)
        if whole:
            equal += 1
            interrupted += re.search(r"\.[1-9]\d*\.core$", name) is not None
        elif not lost:
            different += 1
        print("%s: %d of %d functions equal%s" % (name, matched, len(ours), "" if whole else "; gdb: %s" % gdb[at:at + 2]))
    print("%d cores: %d wholly equal, %d of them interrupted code; %d cut short by gdb; %d different" %
          (len(cores), equal, interrupted, len(cores) - equal - different, different))
    return 1 if different or not equal else 0


if __name__ == "__main__":
    sys.exit(main())
