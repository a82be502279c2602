#include <cstdio>
#include <string_view>

#include "debug/symbols/kernel_symbols.h"
#include "debug/symbols/symbols_report.h"
#include "snapshot/cli/command_line.h"
#include "snapshot/cli/commands.h"
#include "snapshot/cli/exit_codes.h"
#include "snapshot/cli/user_path.h"

namespace watchsnap {

int SymbolsCommand(const Arguments& arguments) {
  CommandLine line("watchsnap symbols",
                   "Shows what a kernel has under each name: address, size, section, alignment, whether it "
                   "can be\nwatched or why not, and names that come near.\nExit code 0 if all can be watched, 3 if "
                   "one cannot.",
                   "VMLINUX NAME…", {{"json", "", "one JSON document instead of text"}});
  absl::Status status = line.Parse(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "watchsnap symbols: %s\n", std::string(status.message()).c_str());
    return kExitUsage;
  }
  if (line.Has("help")) {
    std::fputs(line.Help().c_str(), stdout);
    return kExitOk;
  }
  if (line.operands().size() < 2) {
    std::fprintf(stderr, "watchsnap symbols: wants a vmlinux and at least one name\n\n%s",
                 line.Help().c_str());
    return kExitUsage;
  }
  absl::StatusOr<std::shared_ptr<const KernelSymbols>> kernel =
      KernelSymbols::Open(UserPath(line.operands()[0]));
  if (!kernel.ok()) {
    std::fprintf(stderr, "watchsnap symbols: %s\n", std::string(kernel.status().message()).c_str());
    return kExitUsage;
  }
  const std::vector<std::string_view> names(line.operands().begin() + 1, line.operands().end());
  const SymbolsReport report = DescribeSymbols(**kernel, names);
  std::fputs(line.Has("json") ? report.json.c_str() : report.text.c_str(), stdout);
  return report.all_watchable ? kExitOk : kExitWatchRefused;
}

}  // namespace watchsnap
