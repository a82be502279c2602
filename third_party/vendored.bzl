"""Small repositories of our own whose files are part of this source tree."""

def _vendored_repository_impl(ctx):
    for entry in ctx.path(ctx.attr.marker).dirname.readdir():
        ctx.symlink(entry, entry.basename)

vendored_repository = repository_rule(
    doc = """The folder that holds `marker` as a repository of its own.

Like local_repository, but found by label: it works when this project is itself an external repository.""",
    implementation = _vendored_repository_impl,
    local = True,
    attrs = {"marker": attr.label(mandatory = True, allow_single_file = True)},
)

def _system_library_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", """\
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    visibility = ["//visibility:public"],
)
""".format(name = ctx.name, linkopts = repr(ctx.attr.linkopts)))

system_library = repository_rule(
    doc = "A C library whose headers and archive ./bazelw installs with the distribution's packages.",
    implementation = _system_library_impl,
    attrs = {"linkopts": attr.string_list(mandatory = True)},
)
