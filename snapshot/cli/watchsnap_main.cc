// Dispatch of the `watchsnap` program; main() itself is in the root package's target.
#include <cstdio>
#include <string>

#include "absl/base/log_severity.h"
#include "absl/log/globals.h"
#include "absl/log/initialize.h"
#include "snapshot/cli/commands.h"
#include "snapshot/cli/exit_codes.h"

namespace watchsnap {
namespace {

constexpr char kVersion[] = "watchsnap 0.1";
constexpr char kHelp[] =
    R"(watchsnap boots a Linux kernel in a small virtual machine, stops it each time it writes a variable you
name, and shows who wrote what.

Usage: watchsnap COMMAND [OPTION…]

  run      boot a kernel, watch symbols, show and keep a capture of every write
  doctor   what this machine can do: KVM, hardware watchpoints (proved, not assumed), routes
  inspect  what a file of captures holds: a table, a tree, any value by its path
  diff     what changed between two captures
  symbols  what a vmlinux has under a name, and whether it can be watched

  watchsnap COMMAND --help   the options of a command
  watchsnap --version

Exit codes: 0 as asked · 1 ran, and a scenario or assertion failed · 2 usage · 3 a watch was refused
(symbol, alignment, slots, host) · 4 this host cannot run it · 5 the guest did not boot or ended badly
)";

}  // namespace

int WatchsnapMain(int argc, char** argv, const EmulatedHost& emulated_host) {
  absl::SetStderrThreshold(absl::LogSeverityAtLeast::kWarning);
  absl::InitializeLog();
  const Arguments all(argv + 1, argv + argc);
  if (all.empty()) {
    std::fputs(kHelp, stderr);
    return kExitUsage;
  }
  const std::string command = all[0];
  const Arguments rest(all.begin() + 1, all.end());
  if (command == "run") return RunCommand(rest, emulated_host);
  if (command == "doctor") return DoctorCommand(rest, emulated_host);
  if (command == "symbols") return SymbolsCommand(rest);
  if (command == "inspect") return InspectCommand(rest);
  if (command == "diff") return DiffCommand(rest);
  if (command == "--help" || command == "help" || command == "-h") {
    std::fputs(kHelp, stdout);
    return kExitOk;
  }
  if (command == "--version") {
    std::puts(kVersion);
    return kExitOk;
  }
  std::fprintf(stderr, "watchsnap: no command '%s'; 'watchsnap --help' lists them\n",
               command.c_str());
  return kExitUsage;
}

}  // namespace watchsnap
