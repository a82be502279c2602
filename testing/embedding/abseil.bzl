"""The embedder's own Abseil: upstream's sources with a mark of their own.

The inline namespace that every Abseil symbol lies in is `embedder` here. So whatever watchsnap was compiled against shows in its
symbols, and two Abseils in one program would not even link.
"""

load("@watchsnap//third_party/debian:debian.bzl", "FETCH_ATTR", "fetch_debian", "run_checked")

def _embedders_abseil_impl(ctx):
    fetch_debian(ctx, "source", ["trixie"], "amd64", ["abseil"], ".download")
    run_checked(ctx, """
tar xf .download/*.orig.tar.* --strip-components=1
mv .download/resolved.txt .
rm -r .download
sed -i 's/^#define ABSL_OPTION_INLINE_NAMESPACE_NAME .*/#define ABSL_OPTION_INLINE_NAMESPACE_NAME embedder/' absl/base/options.h
grep -q '^#define ABSL_OPTION_INLINE_NAMESPACE_NAME embedder$' absl/base/options.h
""", "marking Abseil")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)

embedders_abseil = repository_rule(
    implementation = _embedders_abseil_impl,
    attrs = {"_fetch": FETCH_ATTR},
)
