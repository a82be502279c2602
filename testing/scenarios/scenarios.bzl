"""scenario_tests: one scenario as two tests, on 1 and on 2 vCPUs."""

load("//testing:defs.bzl", "watch_scenario_test")

def scenario_tests(name, deps = [], duration_s = 4, **kwargs):
    for cpus in [1, 2]:
        watch_scenario_test(
            name = "%s_%dvcpu" % (name, cpus),
            cpus = cpus,
            duration_s = duration_s,
            deps = deps + [
                ":captures",
                ":guest_kernel",
            ],
            **kwargs
        )
