"""scenario_tests: one scenario as two tests, on 1 and on 2 vCPUs."""

load("//testing:defs.bzl", "watch_scenario_test")

# Tests that only run when they are named.
SOAK_TAGS = [
    "manual",
    "soak",
]

def scenario_tests(name, deps = [], duration_s = 4, soak_cpus = [], **kwargs):
    """NAME_1vcpu and NAME_2vcpu.

    Args:
      name: the names' first part.
      deps: further libraries.
      duration_s: as of watch_scenario_test.
      soak_cpus: the vCPU counts on which it is a soak: what the other count shows as well.
      **kwargs: as of watch_scenario_test.
    """
    for cpus in [1, 2]:
        watch_scenario_test(
            name = "%s_%dvcpu" % (name, cpus),
            cpus = cpus,
            duration_s = duration_s,
            tags = SOAK_TAGS if cpus in soak_cpus else [],
            deps = deps + [
                ":captures",
                ":guest_kernel",
            ],
            **kwargs
        )
