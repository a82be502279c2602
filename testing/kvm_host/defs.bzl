"""kvm_host_test: a test that runs in the emulated KVM host; bare_guest_test: one that needs any KVM."""

load("@rules_cc//cc:defs.bzl", "cc_binary")

_DIRECTLY = """\
if (exec 3<>/dev/kvm) 2>/dev/null; then exec "$PWD/{binary}" "$@"; fi
echo "this machine has no /dev/kvm to open: running in the emulated KVM host"
"""

def _kvm_host_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(script, """\
#!/bin/bash
{directly}# Bazel starts tests in their runfiles. The time-out is a little before Bazel's own, to leave a message.
exec "{host}" --writable="${{TEST_TMPDIR:?run this with bazel test}}" --cpus={cpus} --memory-mb={memory_mb} \\
  --timeout=$(( ${{TEST_TIMEOUT:-300}} - 15 )) -- "$PWD/{binary}" "$@"
""".format(
        host = ctx.executable._kvm_host.short_path,
        binary = ctx.executable.binary.short_path,
        cpus = ctx.attr.cpus,
        memory_mb = ctx.attr.memory_mb,
        directly = _DIRECTLY.format(binary = ctx.executable.binary.short_path) if ctx.attr.any_kvm else "",
    ), is_executable = True)
    runfiles = ctx.runfiles(files = ctx.files.data)
    for target in [ctx.attr.binary, ctx.attr._kvm_host] + ctx.attr.data:
        runfiles = runfiles.merge(target[DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = script, runfiles = runfiles)]

_kvm_host_test = rule(
    implementation = _kvm_host_test_impl,
    test = True,
    attrs = {
        "any_kvm": attr.bool(),
        "binary": attr.label(mandatory = True, executable = True, cfg = "target"),
        "cpus": attr.int(default = 2),
        "data": attr.label_list(allow_files = True),
        "memory_mb": attr.int(default = 4000),
        "_kvm_host": attr.label(
            default = "@watchsnap//testing/kvm_host",
            executable = True,
            cfg = "target",
        ),
    },
)

def kvm_host_test(name, binary, tags = [], size = "medium", **kwargs):
    """Runs a test program in the emulated KVM host: /dev/kvm delivers hardware watchpoints there, on any x86_64 machine.

    Any program will do; one with GoogleTest reports its cases to Bazel. It may write $TEST_TMPDIR, $TEST_UNDECLARED_OUTPUTS_DIR and
    /tmp. Two CPUs are reserved, so that on a small machine one of these runs at a time.

    A test whose bare guest has several vCPUs that write a watched word with LOCK should take cpus = 1. With two, QEMU 10.0.2 runs such an
    instruction for one CPU while it stops the other, and corrupts the emulated host when that ends in a debug exit: its kernel panics
    ("corrupted stack end detected") or a vCPU's KVM_RUN never returns (2 x 20,000 LOCK INC: 0 of 4 runs ended; 12 of 12 with one CPU).
    One CPU is also up to ten times faster there: no waking across CPUs. The vCPUs' threads then take turns by preemption.

    Args:
      name: of the test.
      binary: the program, an executable target.
      tags: as of every test; "cpu:2" is added.
      size: as of every test.
      **kwargs: args, data, cpus (of the emulated host, default 2), memory_mb (default 4000), timeout, visibility, ….
    """
    _kvm_host_test(
        name = name,
        binary = binary,
        size = size,
        tags = tags + ["cpu:2"],
        **kwargs
    )

def bare_guest_test(name, srcs = None, deps = [], binary = None, tags = [], size = "medium", cpus = 1, **kwargs):
    """A test that creates machines with bare guests: on this machine's /dev/kvm where there is one, else in the emulated KVM host.

    For what any KVM can do, hardware watchpoints apart. The emulated host has one CPU unless told otherwise (see kvm_host_test).

    Args:
      name: of the test.
      srcs: of a program with GoogleTest, or
      binary: the program.
      deps: of srcs.
      tags: as of every test; "cpu:2" is added.
      size: as of every test.
      cpus: of the emulated host.
      **kwargs: as of kvm_host_test.
    """
    if (srcs == None) == (binary == None):
        fail("bare_guest_test(name = \"%s\"): srcs or binary, one of them" % name)
    if srcs != None:
        binary = name + "_program"
        cc_binary(
            name = binary,
            testonly = True,
            srcs = srcs,
            deps = deps,
        )
    _kvm_host_test(
        name = name,
        any_kvm = True,
        binary = binary,
        cpus = cpus,
        size = size,
        tags = tags + ["cpu:2"],
        **kwargs
    )
