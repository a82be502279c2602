"""kvm_host_test: a test that runs in the emulated KVM host."""

def _kvm_host_test_impl(ctx):
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(script, """\
#!/bin/bash
# Bazel starts tests in their runfiles. The time-out is a little before Bazel's own, to leave a message.
exec "{host}" --writable="${{TEST_TMPDIR:?run this with bazel test}}" --cpus={cpus} --memory-mb={memory_mb} \\
  --timeout=$(( ${{TEST_TIMEOUT:-300}} - 15 )) -- "$PWD/{binary}" "$@"
""".format(
        host = ctx.executable._kvm_host.short_path,
        binary = ctx.executable.binary.short_path,
        cpus = ctx.attr.cpus,
        memory_mb = ctx.attr.memory_mb,
    ), is_executable = True)
    runfiles = ctx.runfiles(files = ctx.files.data)
    for target in [ctx.attr.binary, ctx.attr._kvm_host] + ctx.attr.data:
        runfiles = runfiles.merge(target[DefaultInfo].default_runfiles)
    return [DefaultInfo(executable = script, runfiles = runfiles)]

_kvm_host_test = rule(
    implementation = _kvm_host_test_impl,
    test = True,
    attrs = {
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
