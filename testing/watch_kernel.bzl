"""watch_kernel: a kernel to watch, as a target."""

WatchKernelInfo = provider(
    doc = "A kernel to watch.",
    fields = {
        "image": "File: the bootable image (bzImage) of the same build, or None.",
        "vmlinux": "File: ELF with symbols.",
    },
)

def _watch_kernel_impl(ctx):
    files = [file for file in [ctx.file.vmlinux, ctx.file.image] if file]
    return [
        DefaultInfo(files = depset(files)),
        WatchKernelInfo(vmlinux = ctx.file.vmlinux, image = ctx.file.image),
    ]

watch_kernel = rule(
    doc = """A kernel for watch_scenario_test and --//testing:kernel: vmlinux with symbols, and the image of the same build.

    watch_kernel(name = "my_kernel", vmlinux = "linux/vmlinux", image = "linux/arch/x86/boot/bzImage")""",
    implementation = _watch_kernel_impl,
    attrs = {
        "image": attr.label(allow_single_file = True, doc = "What a boot loader boots. Without it the vmlinux is booted directly."),
        "vmlinux": attr.label(allow_single_file = True, mandatory = True, doc = "ELF, not stripped."),
    },
)
