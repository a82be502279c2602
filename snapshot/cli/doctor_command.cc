#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "debug/doctor.h"
#include "snapshot/cli/command_line.h"
#include "snapshot/cli/commands.h"
#include "snapshot/cli/exit_codes.h"

namespace watchsnap {
namespace {

CommandLine DoctorCommandLine() {
  return CommandLine("watchsnap doctor",
                     "Says what this machine can do: KVM, whether each hardware watchpoint slot really delivers, the "
                     "debug\nplugins, and by which route scenarios can run. Exit code 0 if any can, 4 if none.",
                     "", {{"json", "", "one JSON document instead of text"},
                          {"here", "", "this machine's own KVM only, without trying the emulated host"},
                          {"quiet", "", "only the exit code"}});
}

// Runs the doctor in the emulated host, where its findings are the route's.
DoctorRoute TryEmulatedHost(const EmulatedHost& emulated_host, bool quiet) {
  std::error_code error;
  std::vector<std::string> argv = {std::filesystem::read_symlink("/proc/self/exe", error).string(),
                                   "doctor", "--here"};
  if (quiet) argv.push_back("--quiet");
  const absl::StatusOr<int> code = emulated_host.run(std::move(argv), {});
  DoctorRoute route;
  route.name = "emulated";
  route.usable = code.ok() && *code == kExitOk;
  route.detail = !code.ok() ? std::string(code.status().message())
                 : route.usable
                     ? "an emulated machine whose KVM delivers hardware watchpoints, slower but exact"
                     : absl::StrCat("the emulated host came up, but its doctor ended with ", *code);
  return route;
}

}  // namespace

int DoctorCommand(const Arguments& arguments, const EmulatedHost& emulated_host) {
  CommandLine line = DoctorCommandLine();
  const absl::Status status = line.Parse(arguments);
  if (!status.ok() || !line.operands().empty()) {
    std::fprintf(stderr, "watchsnap doctor: %s\n",
                 status.ok() ? absl::StrCat("unexpected '", line.operands()[0], "'").c_str()
                             : std::string(status.message()).c_str());
    return kExitUsage;
  }
  if (line.Has("help")) {
    std::fputs(line.Help().c_str(), stdout);
    return kExitOk;
  }
  const bool text = !line.Has("json") && !line.Has("quiet");
  DoctorReport report = RunDoctor();
  if (!line.Has("here") && !emulated_host.inside()) {
    if (text) {
      std::puts("The emulated KVM host, asked by the same doctor (takes some seconds):\n");
      std::fflush(stdout);
    }
    report.routes.push_back(TryEmulatedHost(emulated_host, /*quiet=*/!text));
    if (text) std::puts("\nThis machine itself:\n");
  }
  if (text) std::fputs(DoctorText(report).c_str(), stdout);
  if (line.Has("json") && !line.Has("quiet")) std::puts(DoctorJson(report).c_str());
  return report.AnyRouteUsable() ? kExitOk : kExitHostCannot;
}

}  // namespace watchsnap
