"""Everything the project takes from elsewhere.

A workspace that embeds watchsnap calls watchsnap_dependencies() after defining its own: whatever it has defined under the same name
is used in place of ours.
"""

load("@watchsnap//third_party/bpf:clang.bzl", "bpf_clang", "static_libelf")
load("@watchsnap//third_party/debian:debian.bzl", "debian_source")
load("@watchsnap//third_party/gdb:gdb.bzl", "debian_gdb")
load("@watchsnap//third_party/kernel:kernel.bzl", "watched_kernel")
load("@watchsnap//third_party/kvm_host:kvm_host.bzl", "kvm_host_kernel", "kvm_host_qemu")
load("@watchsnap//third_party:vendored.bzl", "system_library", "vendored_repository")

def _maybe(rule, name, **kwargs):
    if not native.existing_rule(name):
        rule(name = name, **kwargs)

def _bazel_support():
    # What Bazel or the libraries' BUILD files load and Debian 12's Bazel would otherwise download.
    for name in ["rules_cc", "platforms", "remote_coverage_tools"]:
        _maybe(
            vendored_repository,
            name = name,
            marker = "@watchsnap//third_party:%s/WORKSPACE" % name,
        )
    _maybe(native.local_repository, name = "bazel_skylib", path = "/usr/share/bazel/tools/skylib")
    _maybe(native.local_repository, name = "rules_java", path = "/usr/share/bazel/rules/java")

def _libraries():
    _maybe(
        debian_source,
        name = "com_google_absl",
        source = "abseil",
        suite = "trixie",
        repo_mapping = {"@googletest": "@com_google_googletest"},
    )
    _maybe(
        debian_source,
        name = "com_google_googletest",
        source = "googletest",
        suite = "trixie",
        repo_mapping = {"@abseil-cpp": "@com_google_absl"},
    )
    _maybe(
        debian_source,
        name = "com_github_google_benchmark",
        build_file = "@watchsnap//third_party/overlay:benchmark.BUILD.bazel",
        source = "benchmark",
        suite = "bookworm",
    )
    _maybe(
        debian_source,
        name = "libdwarf",
        build_file = "@watchsnap//third_party/overlay:libdwarf.BUILD.bazel",
        source = "dwarfutils",
        suite = "trixie",
    )
    _maybe(
        debian_source,
        name = "simdjson",
        build_file = "@watchsnap//third_party/overlay:simdjson.BUILD.bazel",
        source = "simdjson",
        suite = "bookworm",
    )
    _maybe(
        debian_source,
        name = "zycore",
        build_file = "@watchsnap//third_party/overlay:zycore.BUILD.bazel",
        source = "zycore-c",
        suite = "trixie",
    )
    _maybe(
        debian_source,
        name = "zydis",
        build_file = "@watchsnap//third_party/overlay:zydis.BUILD.bazel",
        source = "zydis",
        suite = "trixie",
    )
    _maybe(system_library, name = "zlib", linkopts = ["-lz"])
    _maybe(system_library, name = "zstd", linkopts = ["-lzstd"])

def _bpf():
    # Only scenarios with BPF programs need these. libbpf of trixie: bookworm's does not know sleepable struct_ops nor their links.
    _maybe(bpf_clang, name = "bpf_clang", suite = "bookworm", version = "16")
    _maybe(static_libelf, name = "libelf", suite = "bookworm")
    _maybe(
        debian_source,
        name = "libbpf",
        build_file = "@watchsnap//third_party/overlay:libbpf.BUILD.bazel",
        source = "libbpf",
        suite = "trixie",
    )

def _debuggers():
    # Only the test that attaches a real gdb needs it.
    _maybe(debian_gdb, name = "debian_gdb", suite = "bookworm")

def _machines():
    # The first Debian kernel with sched_ext is in trixie-backports.
    _maybe(
        watched_kernel,
        name = "debian_kernel",
        meta_package = "linux-image-cloud-amd64",
        suite = "trixie-backports",
    )
    _maybe(kvm_host_qemu, name = "kvm_host_qemu")
    _maybe(
        kvm_host_kernel,
        name = "kvm_host_kernel",
        modules = [
            "virtio_mmio",
            "netfs",
            "9pnet",
            "9pnet_virtio",
            "9p",
            "overlay",
            "irqbypass",
            "kvm",
            "ccp",
            "kvm-amd",
        ],
    )

def watchsnap_dependencies():
    """Defines the repositories this project needs, except those that are defined already."""
    _bazel_support()
    _libraries()
    _bpf()
    _debuggers()
    _machines()
