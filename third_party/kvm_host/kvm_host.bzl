"""The parts of the emulated KVM host: QEMU with everything it needs to run, and a Linux kernel with its KVM modules.

Nothing is installed: QEMU runs with the C library and libraries that were fetched with it, so the machine may have others or none.
"""

load("@watchsnap//third_party/debian:debian.bzl", "FETCH_ATTR", "fetch_debian", "run_checked", "show_debian")

_QEMU_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files(["resolved.txt"])

# bin/qemu-system-x86_64, lib/ with its dynamic linker ld.so, share/ with its firmware.
filegroup(
    name = "files",
    srcs = glob(["bin/*", "lib/*", "share/*"]),
)
"""

def _qemu_impl(ctx):
    fetch_debian(ctx, "closure", ["bookworm", ctx.attr.suite], "amd64", ["qemu-system-x86"], ".download")
    ctx.report_progress("unpacking QEMU")
    run_checked(ctx, """
for package in .download/*.deb; do dpkg-deb -x "$package" .root; done
mkdir -p bin lib share
cp .root/usr/bin/qemu-system-x86_64 bin/
loader=.root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries=$PWD/.root/lib/x86_64-linux-gnu:$PWD/.root/usr/lib/x86_64-linux-gnu
cp -L "$loader" lib/ld.so
"$loader" --library-path "$libraries" --list bin/qemu-system-x86_64 |
  sed -nE 's/^[[:space:]]*[^ ]+ => ([^ ]+) .*/\\1/p' | while read -r library; do
    case $library in
      "$PWD"/.root/*) cp -L "$library" lib/ ;;
      *ld-linux*) ;;
      *) echo "QEMU would use $library of this system" >&2; exit 1 ;;
    esac
  done
# The firmware of -M microvm and the option ROM that loads a kernel; usr/share/qemu links to seabios.
for file in bios-microvm.bin linuxboot_dma.bin; do cp -L ".root/usr/share/qemu/$file" share/ 2>/dev/null || cp -L ".root/usr/share/seabios/$file" share/; done
lib/ld.so --library-path lib bin/qemu-system-x86_64 --version | head -n 1
mv .download/resolved.txt .
rm -r .download .root
""", "unpacking QEMU")
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", _QEMU_BUILD)

kvm_host_qemu = repository_rule(
    doc = "QEMU >= 10 for x86_64 with its libraries and firmware. Older ones never deliver data watchpoints to a guest of a guest.",
    implementation = _qemu_impl,
    attrs = {
        "suite": attr.string(default = "bookworm-backports"),
        "_fetch": FETCH_ATTR,
    },
)

_KERNEL_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files(["resolved.txt", "version", "vmlinuz"])

# In the order of their names they can be loaded one after the other.
filegroup(
    name = "modules",
    srcs = glob(["modules/*.ko"]),
)
"""

def _kernel_impl(ctx):
    depends = show_debian(ctx, "Depends", ctx.attr.suite, "amd64", ctx.attr.meta_package)
    package = [d.strip().split(" ")[0] for d in depends.split(",") if d.strip().startswith("linux-image-")]
    if not package:
        fail("%s in Debian %s depends on no linux-image package (Depends: %s)" % (ctx.attr.meta_package, ctx.attr.suite, depends))
    fetch_debian(ctx, "binary", [ctx.attr.suite], "amd64", [package[0] + "/" + ctx.attr.suite], ".download")
    ctx.report_progress("unpacking " + package[0])
    run_checked(ctx, """
version={version}
dpkg-deb -x .download/*.deb .root
cp .root/boot/vmlinuz-$version vmlinuz
echo $version > version
mkdir modules
number=10
for module in {modules}; do
  file=$(find .root -name "$module.ko*" | head -n 1)
  case $file in
    *.ko.xz) xz -dc "$file" > modules/$number-$module.ko ;;
    *.ko) cp "$file" modules/$number-$module.ko ;;
    *) echo "the kernel $version has no module $module" >&2; exit 1 ;;
  esac
  number=$((number + 1))
done
mv .download/resolved.txt .
rm -r .download .root
""".format(version = package[0][len("linux-image-"):], modules = " ".join(ctx.attr.modules)), "unpacking " + package[0])
    ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)
    ctx.file("BUILD.bazel", _KERNEL_BUILD)

kvm_host_kernel = repository_rule(
    doc = "A Linux kernel and the modules, in this order, that an initramfs is to load.",
    implementation = _kernel_impl,
    attrs = {
        "meta_package": attr.string(default = "linux-image-amd64", doc = "The generic flavour: the cloud one has no 9p."),
        "modules": attr.string_list(mandatory = True),
        "suite": attr.string(default = "bookworm-backports"),
        "_fetch": FETCH_ATTR,
    },
)
