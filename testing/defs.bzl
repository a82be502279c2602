"""What other packages and repositories use to test with watchsnap.

    load("@watchsnap//testing:defs.bzl", "watch_scenario_test", "watch_kernel", "kvm_host_test", "bare_guest_test")
"""

load("@rules_cc//cc:defs.bzl", "cc_test")
load("@watchsnap//testing:watch_kernel.bzl", "WatchKernelInfo", _watch_kernel = "watch_kernel")
load("@watchsnap//testing/kvm_host:defs.bzl", _bare_guest_test = "bare_guest_test", _kvm_host_test = "kvm_host_test")

bare_guest_test = _bare_guest_test
kvm_host_test = _kvm_host_test
watch_kernel = _watch_kernel

def _runfiles_path(ctx, file):
    if file.short_path.startswith("../"):
        return file.short_path[len("../"):]
    return ctx.workspace_name + "/" + file.short_path

def _cpp_string(text):
    return "R\"watchsnap(" + text + ")watchsnap\""

def _scenario_arguments_impl(ctx):
    kernel = ctx.attr.kernel[WatchKernelInfo]
    files = [kernel.vmlinux] + ctx.files.guest_data
    arguments = ["--vmlinux=" + _runfiles_path(ctx, kernel.vmlinux)]
    if ctx.attr.boot == "image":
        if not kernel.image:
            fail("%s has no image: give its watch_kernel one, or set boot = \"vmlinux\" here" % ctx.attr.kernel.label)
        files.append(kernel.image)
        arguments.append("--kernel=" + _runfiles_path(ctx, kernel.image))
    arguments += ["--guest_data=" + _runfiles_path(ctx, file) for file in ctx.files.guest_data]
    for option, labels in [
        ("scheduler", ctx.files.scheduler),
        ("schedulers", ctx.files.schedulers),
        ("bpf_loader", ctx.files.bpf_loader),
    ]:
        files += labels
        arguments += ["--%s=%s" % (option, _runfiles_path(ctx, file)) for file in labels]
    arguments += ctx.attr.arguments
    source = ctx.actions.declare_file(ctx.label.name + ".cc")
    ctx.actions.write(source, """\
// Made by watch_scenario_test: the arguments {label} runs with where none are given.
#include "testing/scenario/host_options.h"

namespace watchsnap {{
extern const char* const kBuiltInArguments[] = {{
{arguments}    nullptr,
}};
}}  // namespace watchsnap
""".format(
        label = ctx.label,
        arguments = "".join(["    %s,\n" % _cpp_string(argument) for argument in arguments]),
    ))
    return [DefaultInfo(files = depset([source]), runfiles = ctx.runfiles(files = files))]

_scenario_arguments = rule(
    implementation = _scenario_arguments_impl,
    attrs = {
        "arguments": attr.string_list(),
        "boot": attr.string(values = ["image", "vmlinux"]),
        "bpf_loader": attr.label(allow_single_file = True),
        "guest_data": attr.label_list(allow_files = True),
        "kernel": attr.label(mandatory = True, providers = [WatchKernelInfo]),
        "scheduler": attr.label(allow_single_file = True),
        "schedulers": attr.label_list(allow_files = True),
    },
)

_TOPOLOGY_LEVELS = ["numa", "llcs", "cores", "threads"]
_MAX_VCPUS = 64

def _check_topology(target, topology):
    """Fails unless vmm/boot/cpu_topology.h would take it."""
    wanted = "wanted are counts of %s, like \"numa=2,llcs=2,cores=2,threads=2\"; what is left out is 1" % ", ".join(_TOPOLOGY_LEVELS)
    prefix = "watch_scenario_test(name = \"%s\"): topology = %s: " % (target, repr(topology))
    if type(topology) != "string":
        fail("%sthis is no string; %s" % (prefix, wanted))
    vcpus = 1
    given = []
    for item in topology.split(","):
        level, _, count = item.partition("=")
        if level not in _TOPOLOGY_LEVELS:
            fail("%sthere is no '%s'; %s" % (prefix, level, wanted))
        if level in given:
            fail("%s'%s' is given twice; %s" % (prefix, level, wanted))
        given.append(level)
        if not count.isdigit() or int(count) < 1:
            fail("%s'%s' is no count from 1; %s" % (prefix, item, wanted))
        vcpus *= int(count)
    if vcpus > _MAX_VCPUS:
        fail("%sthese are %d vCPUs; a machine has 1 to %d" % (prefix, vcpus, _MAX_VCPUS))

def watch_scenario_test(
        name,
        srcs,
        deps = [],
        kernel = "@watchsnap//testing:kernel",
        boot = "image",
        cpus = None,
        memory_mb = 512,
        duration_s = 5,
        append = "",
        guest_data = [],
        debug_plugin = "hw_watch",
        topology = None,
        scheduler = None,
        schedulers = [],
        expect_scheduler_error = False,
        tags = [],
        size = "medium",
        data = [],
        **kwargs):
    """A test that boots a guest for each WATCH_SCENARIO of its sources and then runs its POST_VM.

    It runs on this machine's /dev/kvm if that delivers hardware watchpoints, else in the emulated KVM host, and says which. The built
    program can be run by hand without arguments; a wrong one lists what there is. It is linked statically, because it is also the
    guest's first process: it has no name resolution, and no sanitizer (--build_tag_filters=-scenario leaves these targets out).

    Args:
      name: of the test.
      srcs: sources with WATCH_SCENARIO and POST_VM (testing/scenario/scenario.h), and ordinary TESTs if wanted.
      deps: further libraries; they are linked statically.
      kernel: a watch_kernel. Default: the one --//testing:kernel names, Debian's stock kernel.
      boot: "image" boots the kernel's image, with KASLR unless `append` has nokaslr; "vmlinux" boots the ELF directly, without.
      cpus: vCPUs of the guest, 1 unless there is a topology.
      memory_mb: of the guest.
      duration_s: how long HoldSpec::Full() holds, in seconds; a fraction may be given as a string.
      append: further kernel command line.
      guest_data: files that the guest finds in /data. Dynamically linked programs among them, and among the schedulers, get their
        shared libraries from guest_data, else from this machine's.
      debug_plugin: how writes are trapped, by name.
      topology: how the guest's vCPUs are grouped, instead of cpus: "numa=2,llcs=2,cores=2,threads=2" are two nodes of two last-level
        caches of two cores of two threads, 16 vCPUs; what is left out is 1. vCPUs are numbered threads first. Memory is shared out
        evenly among the nodes. A spelling mistake fails the build.
      scheduler: a sched_ext scheduler that is started before the steps: a bpf_object (testing/bpf/defs.bzl), an object file, or a
        program that loads one itself, stays, and ends on SIGTERM.
      schedulers: further ones, for Op::StartScheduler.
      expect_scheduler_error: False: an error of a scheduler fails the scenario, with the kernel's reason and message. True: there must
        be one. A string: there must be one whose text contains it.
      tags: as of every test; "cpu:2" and "scenario" are added.
      size: as of every test.
      data: as of every test.
      **kwargs: as of every cc_test.
    """
    if topology != None:
        _check_topology(name, topology)
        if cpus != None:
            fail("watch_scenario_test(name = \"%s\"): cpus and topology: give one of them; a topology says how many vCPUs there are" % name)
    elif cpus == None:
        cpus = 1
    elif type(cpus) != "int" or cpus < 1:
        fail("watch_scenario_test(name = \"%s\"): cpus = %s; a number from 1 is wanted" % (name, cpus))
    scheduler_arguments = []
    if expect_scheduler_error:
        wanted = expect_scheduler_error if type(expect_scheduler_error) == "string" else "any"
        scheduler_arguments.append("--expect_scheduler_error=" + wanted)
    arguments = name + "_arguments"
    _scenario_arguments(
        name = arguments,
        testonly = True,
        arguments = [
            "--topology=%s" % topology if topology else "--cpus=%s" % cpus,
            "--memory_mb=%s" % memory_mb,
            "--duration_s=%s" % duration_s,
            "--append=%s" % append,
            "--debug_plugin=%s" % debug_plugin,
        ] + scheduler_arguments,
        boot = boot,
        # Built, and its parts fetched, only for those who need it.
        bpf_loader = "@watchsnap//testing/bpf:bpf_loader" if scheduler or schedulers else None,
        guest_data = guest_data,
        kernel = kernel,
        scheduler = scheduler,
        schedulers = schedulers,
        tags = ["manual"],
    )
    cc_test(
        name = name,
        srcs = srcs + [":" + arguments],
        data = data + [":" + arguments],
        # The same program is the guest's first process, where there are no libraries.
        linkopts = ["-static"],
        linkstatic = True,
        size = size,
        tags = tags + [
            "cpu:2",
            "scenario",
        ],
        deps = deps + [
            "@watchsnap//testing:scenario",
            "@watchsnap//testing/scenario:host_options",
        ],
        **kwargs
    )
