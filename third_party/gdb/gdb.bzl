"""The distribution's gdb, with its libraries. It is fetched when a test first needs it; nothing is installed."""

load("@watchsnap//third_party/debian:debian.bzl", "FETCH_ATTR", "fetch_debian", "run_checked")

_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files([
    "gdb",  # a script: runs bin/gdb with its own libraries and C library
    "resolved.txt",
])

filegroup(
    name = "files",
    srcs = ["gdb"] + glob(["bin/*", "lib/*"]),
)
"""

# gdb-minimal is the same gdb without Python, which would want its own library beside it.
def _debian_gdb_impl(ctx):
    fetch_debian(ctx, "closure", [ctx.attr.suite], "amd64", ["gdb-minimal"], ".download")
    ctx.report_progress("unpacking gdb")
    run_checked(ctx, """
for package in .download/*.deb; do dpkg-deb -x "$package" .root; done
mkdir -p bin lib
cp -L .root/usr/bin/gdb bin/gdb
loader=.root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries=$PWD/.root/lib/x86_64-linux-gnu:$PWD/.root/usr/lib/x86_64-linux-gnu
cp -L "$loader" lib/ld.so
"$loader" --library-path "$libraries" --list bin/gdb |
  sed -nE 's/^[[:space:]]*[^ ]+ => ([^ ]+) .*/\\1/p' | while read -r library; do
    case $library in
      "$PWD"/.root/*) cp -L "$library" lib/ ;;
      *ld-linux*) ;;
      *) echo "gdb would use $library of this system" >&2; exit 1 ;;
    esac
  done
cat > gdb <<'END'
#!/bin/sh
here=$(dirname "$0")
exec "$here/lib/ld.so" --library-path "$here/lib" "$here/bin/gdb" "$@"
END
chmod +x gdb
./gdb --version | head -n 1
mv .download/resolved.txt .
rm -r .download .root
""", "unpacking gdb")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", _BUILD)

debian_gdb = repository_rule(
    doc = "`:gdb` with `:files`: the distribution's gdb. Nothing is installed.",
    implementation = _debian_gdb_impl,
    attrs = {
        "suite": attr.string(mandatory = True),
        "_fetch": FETCH_ATTR,
    },
)
