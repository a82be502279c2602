"""The kernel to watch, with its symbols: Debian's stock one, or the user's own build."""

load("@watchsnap//third_party/debian:debian.bzl", "FETCH_ATTR", "fetch_debian", "run_checked", "show_debian")

_BUILD = """\
# What is watched: {what}
package(default_visibility = ["//visibility:public"])

exports_files([
    "config",  # its configuration
    "version",  # one line: what uname -r says in it
    "vmlinux",  # ELF with symbols and DWARF
    "vmlinuz",  # bzImage: what a boot loader boots
])
"""

def _versioned_name(ctx, meta, suite):
    """The package that a meta package stands for today: kernels are replaced in the archive, their meta package stays."""
    depends = show_debian(ctx, "Depends", suite, "amd64", meta)
    flavour = meta[len("linux-image-"):]
    for item in depends.split(","):
        name = item.strip().split(" ")[0]
        if name.startswith("linux-image-") and name.endswith("-" + flavour) and name != meta:
            return name[len("linux-image-"):]
    fail("%s in Debian %s depends on no versioned linux-image package (Depends: %s)" % (meta, suite, depends))

def _from_build_tree(ctx, tree):
    wanted = {
        "config": ".config",
        "version": "include/config/kernel.release",
        "vmlinux": "vmlinux",
        "vmlinuz": "arch/x86/boot/bzImage",
    }
    missing = [path for path in wanted.values() if not ctx.path(tree + "/" + path).exists]
    if missing:
        fail(("WATCHSNAP_KERNEL_DIR=%s is not a finished x86_64 kernel build tree: it lacks %s. Build it there with " +
              "`make bzImage`, or unset WATCHSNAP_KERNEL_DIR for Debian's kernel.") % (tree, ", ".join(missing)))
    for name, path in wanted.items():
        ctx.symlink(tree + "/" + path, name)
    ctx.file("resolved.txt", "build tree %s\n" % tree)
    return "the build tree " + tree

def _from_debian(ctx):
    version = _versioned_name(ctx, ctx.attr.meta_package, ctx.attr.suite)
    packages = [
        "linux-binary-" + version,
        "linux-base-" + version,
        "linux-image-" + version + "-dbg",
    ]
    fetch_debian(ctx, "binary", [ctx.attr.suite], "amd64", packages, ".download")
    ctx.report_progress("unpacking vmlinux of " + version)

    # Only what is needed leaves the packages: the symbols unpack to several times their download.
    run_checked(ctx, """
version={version}
extract() {{  # extract PACKAGE PATH-PATTERN NAME
  dpkg-deb --fsys-tarfile .download/"$1"_*.deb | tar x --wildcards --to-stdout "$2" > "$3"
  [[ -s $3 ]] || {{ echo "package $1 holds no $2" >&2; exit 1; }}
}}
extract linux-binary-$version "*/modules/$version/vmlinuz" vmlinuz
extract linux-base-$version "*/config*" config
extract linux-image-$version-dbg "*/debug/lib/modules/$version/vmlinux" vmlinux
echo $version > version
mv .download/resolved.txt .
rm -r .download
""".format(version = version), "unpacking the kernel packages of " + version)
    return "Debian's %s, resolved to %s" % (ctx.attr.meta_package, version)

def _watched_kernel_impl(ctx):
    tree = ctx.os.environ.get("WATCHSNAP_KERNEL_DIR", "")
    what = _from_build_tree(ctx, tree) if tree else _from_debian(ctx)
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", _BUILD.format(what = what))

watched_kernel = repository_rule(
    doc = """A kernel with its vmlinux: `:vmlinux`, `:vmlinuz`, `:config`, `:version`.

With --repo_env=WATCHSNAP_KERNEL_DIR=/path/to/linux-build it is that build tree's; otherwise what `meta_package` of Debian's `suite`
stands for at the time it is first fetched (written to resolved.txt). Debian's symbols are a download of about 350 MB.""",
    implementation = _watched_kernel_impl,
    environ = ["WATCHSNAP_KERNEL_DIR"],
    attrs = {
        "meta_package": attr.string(mandatory = True),
        "suite": attr.string(mandatory = True),
        "_fetch": FETCH_ATTR,
    },
)
