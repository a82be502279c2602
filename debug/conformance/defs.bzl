"""debug_plugin_conformance_test: the suite that every debug plugin must pass."""

load("@rules_cc//cc:defs.bzl", "cc_binary")
load("@watchsnap//testing/kvm_host:defs.bzl", "bare_guest_test", "kvm_host_test")

def debug_plugin_conformance_test(name, plugin_name, deps, vcpus = 1, host = "emulated", cpus = 1, **kwargs):
    """Runs //debug:conformance over one debug plugin.

        load("@watchsnap//debug/conformance:defs.bzl", "debug_plugin_conformance_test")

        debug_plugin_conformance_test(
            name = "my_plugin_conformance_test",
            plugin_name = "my_plugin",
            vcpus = 2,
            deps = [":my_plugin"],
        )

    Args:
      name: of the test.
      plugin_name: as in REGISTER_DEBUG_DEVICE.
      deps: the library that registers it (alwayslink).
      vcpus: of the machines that the suite makes.
      host: "emulated": the emulated KVM host, where hardware watchpoints are delivered; "any": this machine's /dev/kvm where there is
        one, for plugins that need no watchpoints.
      cpus: of the emulated host; the suite has vCPUs that write a watched word with LOCK, hence one (see kvm_host_test).
      **kwargs: as of kvm_host_test.
    """
    if host not in ["emulated", "any"]:
        fail("debug_plugin_conformance_test(name = \"%s\"): host = %s; \"emulated\" or \"any\" is wanted" % (name, repr(host)))
    cc_binary(
        name = name + "_program",
        testonly = True,
        deps = deps + ["@watchsnap//debug:conformance"],
        tags = ["manual"],
    )
    rule = bare_guest_test if host == "any" else kvm_host_test
    rule(
        name = name,
        args = [
            "--plugin=" + plugin_name,
            "--vcpus=%d" % vcpus,
        ],
        binary = ":%s_program" % name,
        cpus = cpus,
        **kwargs
    )
