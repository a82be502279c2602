"""A clang that compiles for BPF, and the libelf that libbpf reads objects with. Both are fetched when a target first needs them."""

load("@watchsnap//third_party/debian:debian.bzl", "FETCH_ATTR", "fetch_debian", "run_checked")

_CLANG_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files([
    "clang",  # a script: runs bin/clang with its own libraries and C library
    "resolved.txt",
])

filegroup(
    name = "files",
    srcs = ["clang"] + glob(["bin/*", "lib/*"]),
)
"""

# The compiler's package wants a whole C++ tool chain beside it, which BPF programs have no use for: so the closure is of its
# libraries. Found at run time by its own dynamic linker, it works on any system.
def _bpf_clang_impl(ctx):
    version = ctx.attr.version
    fetch_debian(ctx, "closure", [ctx.attr.suite], "amd64", ["libclang-cpp" + version], ".download")
    fetch_debian(ctx, "binary", [ctx.attr.suite], "amd64", ["clang-" + version], ".download-clang")
    ctx.report_progress("unpacking clang for BPF")
    run_checked(ctx, """
for package in .download/*.deb .download-clang/*.deb; do dpkg-deb -x "$package" .root; done
mkdir -p bin lib
cp -L .root/usr/lib/llvm-{version}/bin/clang bin/clang
loader=.root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries=$PWD/.root/lib/x86_64-linux-gnu:$PWD/.root/usr/lib/x86_64-linux-gnu
cp -L "$loader" lib/ld.so
"$loader" --library-path "$libraries" --list bin/clang |
  sed -nE 's/^[[:space:]]*[^ ]+ => ([^ ]+) .*/\\1/p' | while read -r library; do
    case $library in
      "$PWD"/.root/*) cp -L "$library" lib/ ;;
      *ld-linux*) ;;
      *) echo "clang would use $library of this system" >&2; exit 1 ;;
    esac
  done
cat > clang <<'END'
#!/bin/sh
here=$(dirname "$0")
exec "$here/lib/ld.so" --library-path "$here/lib" "$here/bin/clang" "$@"
END
chmod +x clang
./clang --version | head -n 1
cat .download/resolved.txt .download-clang/resolved.txt > resolved.txt
rm -r .download .download-clang .root
""".format(version = version), "unpacking clang for BPF")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", _CLANG_BUILD)

bpf_clang = repository_rule(
    doc = "`:clang` with `:files`: a clang whose -target bpf is used. A download of about 55 MB; nothing is installed.",
    implementation = _bpf_clang_impl,
    attrs = {
        "suite": attr.string(mandatory = True),
        "version": attr.string(mandatory = True),
        "_fetch": FETCH_ATTR,
    },
)

def _static_libelf_impl(ctx):
    fetch_debian(ctx, "binary", [ctx.attr.suite], "amd64", ["libelf-dev"], ".download")
    run_checked(ctx, """
dpkg-deb -x .download/libelf-dev_*.deb .root
mkdir include
cp .root/usr/include/libelf.h .root/usr/include/gelf.h include/
cp .root/usr/lib/x86_64-linux-gnu/libelf.a .
mv .download/resolved.txt .
rm -r .download .root
""", "unpacking libelf")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", """\
cc_import(
    name = "archive",
    hdrs = ["include/libelf.h", "include/gelf.h"],
    static_library = "libelf.a",
)

cc_library(
    name = "libelf",
    hdrs = ["include/libelf.h", "include/gelf.h"],
    includes = ["include"],
    visibility = ["//visibility:public"],
    deps = [":archive", "@zlib"],
)
""")

static_libelf = repository_rule(
    doc = "Headers and the static archive of libelf: programs of a guest are linked without shared libraries.",
    implementation = _static_libelf_impl,
    attrs = {
        "suite": attr.string(mandatory = True),
        "_fetch": FETCH_ATTR,
    },
)
