"""Programs that run where there is nothing but a kernel: statically linked, and never sanitized, for the two exclude each other."""

load("@rules_cc//cc:defs.bzl", "cc_binary")

_OPTIONS = ["//command_line_option:copt", "//command_line_option:linkopt"]

def _without_sanitizers_impl(settings, _attr):
    return {name: [flag for flag in settings[name] if "sanitize" not in flag] for name in _OPTIONS}

# A flag of the command line comes after those of a target, so a target cannot take it back.
_without_sanitizers = transition(
    implementation = _without_sanitizers_impl,
    inputs = _OPTIONS,
    outputs = _OPTIONS,
)

def _static_program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = program, target_file = ctx.executable.binary, is_executable = True)
    return [DefaultInfo(executable = program, files = depset([program]))]

_static_program = rule(
    implementation = _static_program_impl,
    executable = True,
    attrs = {
        "binary": attr.label(mandatory = True, executable = True, cfg = _without_sanitizers),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
)

def static_cc_binary(name, visibility = None, testonly = False, **kwargs):
    """A cc_binary without shared libraries; builds under --config=asan and tsan as without.

    Args:
      name: of the program.
      visibility: of the program.
      testonly: as usual.
      **kwargs: as of cc_binary.
    """
    cc_binary(
        name = name + "_binary",
        features = ["fully_static_link"],
        linkopts = kwargs.pop("linkopts", []) + ["-static"],
        linkstatic = True,
        tags = ["manual"],  # only through the rule below does it link in every configuration
        testonly = testonly,
        visibility = ["//visibility:private"],
        **kwargs
    )
    _static_program(
        name = name,
        binary = name + "_binary",
        testonly = testonly,
        visibility = visibility,
    )
