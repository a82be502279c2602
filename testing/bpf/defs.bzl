"""bpf_object: a BPF program from its source, for guests of scenarios.

    load("@watchsnap//testing/bpf:defs.bzl", "bpf_object")

    bpf_object(name = "my_scheduler", src = "my_scheduler.bpf.c")
    watch_scenario_test(name = "my_scx_test", srcs = [...], scheduler = ":my_scheduler")
"""

load("@watchsnap//testing:watch_kernel.bzl", "WatchKernelInfo")

def _kernel_types_impl(ctx):
    vmlinux = ctx.attr.kernel[WatchKernelInfo].vmlinux
    header = ctx.actions.declare_file(ctx.label.name + "/vmlinux.h")
    ctx.actions.run_shell(
        command = '"$1" "$2" > "$3"',
        arguments = [ctx.executable._tool.path, vmlinux.path, header.path],
        inputs = [vmlinux],
        tools = [ctx.executable._tool],
        outputs = [header],
        mnemonic = "VmlinuxHeader",
        progress_message = "Printing the types of " + vmlinux.short_path,
    )
    return [DefaultInfo(files = depset([header]))]

kernel_types = rule(
    doc = "vmlinux.h of a watch_kernel.",
    implementation = _kernel_types_impl,
    attrs = {
        "kernel": attr.label(mandatory = True, providers = [WatchKernelInfo]),
        "_tool": attr.label(
            default = "@watchsnap//testing/bpf:vmlinux_header",
            executable = True,
            cfg = "exec",
        ),
    },
)

def _bpf_object_impl(ctx):
    # libbpf names global sections after the file up to its first dot: NAME.bss.
    object = ctx.actions.declare_file(ctx.label.name + ".bpf.o")
    header = ctx.file.kernel_types
    helpers = ctx.files._helpers
    root = ctx.label.workspace_root or "."
    arguments = ctx.actions.args()
    arguments.add_all(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Wno-missing-declarations", "-Werror", "-nostdinc"])
    arguments.add_all(["-isystem", header.dirname])
    arguments.add_all(["-isystem", helpers[0].dirname.rpartition("/")[0]])
    arguments.add_all(["-iquote", root])
    arguments.add_all(["-I", ctx.file._scx.dirname.rpartition("/testing/bpf")[0] or "."])

    # The same bytes wherever it is built.
    arguments.add_all(["-fdebug-compilation-dir", "."])
    arguments.add_all(ctx.attr.copts)
    arguments.add_all(["-c", ctx.file.src, "-o", object])
    ctx.actions.run(
        executable = ctx.file._clang,
        arguments = [arguments],
        inputs = [ctx.file.src, header, ctx.file._scx] + ctx.files.hdrs + helpers,
        tools = ctx.files._clang_files,
        outputs = [object],
        mnemonic = "BpfCompile",
        progress_message = "Compiling for BPF " + ctx.file.src.short_path,
    )
    return [DefaultInfo(files = depset([object]))]

bpf_object = rule(
    doc = """NAME.bpf.o from one C file.

It may include <vmlinux.h> (the types of the kernel that scenarios watch), libbpf's <bpf/bpf_helpers.h> and its neighbours,
"testing/bpf/scx.h" (what a sched_ext scheduler needs), and `hdrs` by their path from its repository's root.""",
    implementation = _bpf_object_impl,
    attrs = {
        "copts": attr.string_list(),
        "hdrs": attr.label_list(allow_files = [".h"]),
        "kernel_types": attr.label(
            default = "@watchsnap//testing/bpf:vmlinux_types",
            allow_single_file = [".h"],
        ),
        "src": attr.label(mandatory = True, allow_single_file = [".c"]),
        "_clang": attr.label(default = "@bpf_clang//:clang", allow_single_file = True),
        "_clang_files": attr.label(default = "@bpf_clang//:files"),
        "_helpers": attr.label(default = "@libbpf//:program_headers"),
        "_scx": attr.label(default = "@watchsnap//testing/bpf:scx.h", allow_single_file = True),
    },
)
