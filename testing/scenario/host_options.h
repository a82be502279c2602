// How the host side of a scenario program runs its guests: from the build (watch_scenario_test) and
// the command line.
//
// watch_scenario_test links a list of default arguments into the program, so that it can be run by
// hand without any; arguments on the command line come after them and win. Paths are looked for in
// the current folder, then in the runfiles.
//
// Threads: main's. Errors: INVALID_ARGUMENT that names the argument; NOT_FOUND that lists where a
// file was looked for.
#ifndef WATCHSNAP_TESTING_SCENARIO_HOST_OPTIONS_H_
#define WATCHSNAP_TESTING_SCENARIO_HOST_OPTIONS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "vmm/boot/cpu_topology.h"

namespace watchsnap {

enum class HostChoice { kAuto, kDirect, kEmulated };

struct HostOptions {
  std::string vmlinux;                         // --vmlinux=FILE
  std::string kernel;                          // --kernel=FILE; empty: vmlinux is booted
  int cpus = 1;                                // --cpus=N
  // --topology=numa=2,llcs=2,cores=2,threads=2; of it and --cpus the last one given counts.
  std::optional<CpuTopology> topology;
  int memory_mb = 512;                         // --memory_mb=N
  absl::Duration duration = absl::Seconds(5);  // --duration_s=S, also fractions
  std::string append;                          // --append=…, repeated ones are joined
  std::string debug_plugin = "hw_watch";       // --debug_plugin=NAME
  std::vector<std::string> guest_data;         // --guest_data=FILE, repeated
  std::string scheduler;                       // --scheduler=FILE; started before the steps
  std::vector<std::string> schedulers;  // --schedulers=FILE, repeated; for Op::StartScheduler
  std::string bpf_loader;               // --bpf_loader=FILE
  // --expect_scheduler_error=TEXT: an error that contains it is wanted; "any": whichever.
  std::string expect_scheduler_error;
  HostChoice host = HostChoice::kAuto;  // --host=auto|direct|emulated, or WATCHSNAP_HOST
};

// The arguments that the build linked in; ends with nullptr. The library has an empty one.
extern const char* const kBuiltInArguments[];

// `arguments` without argv[0], what gtest left of them.
absl::StatusOr<HostOptions> ParseHostOptions(const std::vector<std::string>& arguments);

// The default arguments, then those of the command line.
std::vector<std::string> AllArguments(const std::vector<std::string>& command_line);

// An existing file for a path as the build or the user gave it.
absl::StatusOr<std::string> FindInputFile(const std::string& path);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_HOST_OPTIONS_H_
