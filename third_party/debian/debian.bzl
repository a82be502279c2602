"""Repository rules that get their content from Debian packages, through the machine's own package client.

Nothing is fetched until a target needs it, nothing of the system changes, no root is needed, and downloads are kept for other
checkouts (see fetch.sh). Package names are resolved when they are fetched: `resolved.txt` in each repository says to what.
"""

FETCH_ATTR = attr.label(
    default = "@watchsnap//third_party/debian:fetch.sh",
    allow_single_file = True,
)

def fetch_debian(ctx, kind, suites, arch, packages, out):
    """Runs fetch.sh; its progress lines are shown to the user as they come.

    Args:
      ctx: the repository context; its rule needs `_fetch = FETCH_ATTR`.
      kind: "source", "binary" or "closure".
      suites: list of Debian suites.
      arch: Debian's name of the architecture.
      packages: list of names, each optionally name/suite.
      out: the folder, relative to the repository, that the files are put in.
    """
    ctx.report_progress("Debian packages " + ", ".join(packages))
    result = ctx.execute(
        ["bash", ctx.path(ctx.attr._fetch), kind, arch, ",".join(suites), out] + packages,
        timeout = 7200,
        quiet = False,
    )
    if result.return_code:
        fail("fetching %s from Debian %s failed:\n%s%s" % (", ".join(packages), ",".join(suites), result.stdout, result.stderr))

def show_debian(ctx, field, suite, arch, package):
    """One field of a binary package's record, as the archive has it now."""
    result = ctx.execute(["bash", ctx.path(ctx.attr._fetch), "show", arch, suite, field, package], timeout = 600)
    if result.return_code or not result.stdout.strip():
        fail("looking up %s in Debian %s failed:\n%s%s" % (package, suite, result.stdout, result.stderr))
    return result.stdout.strip()

def run_checked(ctx, script, what):
    """Runs a bash script in the repository's folder and fails with its output if it does."""
    result = ctx.execute(["bash", "-c", "set -euo pipefail\n" + script], timeout = 3600)
    if result.return_code:
        fail("%s failed:\n%s%s" % (what, result.stdout, result.stderr))
    return result.stdout.strip()

def _debian_source_impl(ctx):
    fetch_debian(ctx, "source", [ctx.attr.suite], "amd64", [ctx.attr.source], ".download")
    run_checked(ctx, """
tar xf .download/*.orig.tar.* --strip-components=1
mv .download/resolved.txt .
rm -r .download
""", "unpacking the source package " + ctx.attr.source)
    if ctx.attr.build_file:
        ctx.delete("BUILD.bazel")
        ctx.symlink(ctx.attr.build_file, "BUILD.bazel")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)

debian_source = repository_rule(
    doc = "The upstream sources of a Debian source package.",
    implementation = _debian_source_impl,
    attrs = {
        "build_file": attr.label(doc = "BUILD file for sources that have none."),
        "source": attr.string(mandatory = True),
        "suite": attr.string(mandatory = True),
        "_fetch": FETCH_ATTR,
    },
)
