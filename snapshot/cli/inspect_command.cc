#include <cstdio>
#include <optional>
#include <string>

#include "snapshot/cli/command_line.h"
#include "snapshot/cli/commands.h"
#include "snapshot/cli/exit_codes.h"
#include "snapshot/cli/inspect.h"
#include "snapshot/cli/user_path.h"

namespace watchsnap {
namespace {

int Print(const char* command, const CommandOutput& output) {
  std::fputs(output.out.c_str(), stdout);
  if (!output.err.empty()) std::fprintf(stderr, "watchsnap %s: %s", command, output.err.c_str());
  return output.exit_code;
}

// Nothing if the command shall go on; else the exit code.
std::optional<int> ParseOrExplain(CommandLine& line, const char* command,
                                  const Arguments& arguments, size_t least, size_t most,
                                  const char* wants) {
  const absl::Status status = line.Parse(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "watchsnap %s: %s\n", command, std::string(status.message()).c_str());
    return kExitUsage;
  }
  if (line.Has("help")) {
    std::fputs(line.Help().c_str(), stdout);
    return kExitOk;
  }
  if (line.operands().size() < least || line.operands().size() > most) {
    std::fprintf(stderr, "watchsnap %s: wants %s\n\n%s", command, wants, line.Help().c_str());
    return kExitUsage;
  }
  return std::nullopt;
}

}  // namespace

int InspectCommand(const Arguments& arguments) {
  CommandLine line(
      "watchsnap inspect",
      "Shows what a sidecar (….snapshots.jsonl) or a failure dump (….failure-dump.json) holds: without a "
      "path its\ncaptures as a table, with one what stands there. Scalars print bare; pointers are followed "
      "where what they\npoint to was captured.\n\n"
      "  watchsnap inspect run.jiffies_64.snapshots.jsonl\n"
      "  watchsnap inspect run.jiffies_64.snapshots.jsonl 'captures[3]'\n"
      "  watchsnap inspect run.jiffies_64.snapshots.jsonl 'captures[3].maps[\"mini.bss\"].value.nr_enqueued'\n"
      "  watchsnap inspect run.jiffies_64.snapshots.jsonl 'captures[0].vcpus[1].task.comm'\n"
      "  watchsnap inspect run.jiffies_64.snapshots.jsonl summary.hits\n"
      "  watchsnap inspect Test.failure-dump.json scx.exit.msg\n\n"
      "Exit code 0; 1 if the path is not there (what is there is said); 2 if the file cannot be read.",
      "FILE [PATH]", {{"json", "", "JSON instead of text"}});
  const auto code = ParseOrExplain(line, "inspect", arguments, 1, 2, "a file and at most one path");
  if (code.has_value()) return *code;
  const auto& operands = line.operands();
  return Print("inspect", Inspect(UserPath(operands[0]), operands.size() > 1 ? operands[1] : "",
                                  line.Has("json")));
}

int DiffCommand(const Arguments& arguments) {
  CommandLine line("watchsnap diff",
                   "Shows what changed from one capture of a file to another. Entries of maps, vCPUs and tasks "
                   "are matched by\nkey, index and pid.\n\n"
                   "  watchsnap diff run.jiffies_64.snapshots.jsonl 0 3\n\n"
                   "Exit code 0; 1 if there is no such capture; 2 if the file cannot be read.",
                   "FILE A B", {{"json", "", "JSON instead of text"}});
  const auto code =
      ParseOrExplain(line, "diff", arguments, 3, 3, "a file and two captures by number");
  if (code.has_value()) return *code;
  const auto& operands = line.operands();
  return Print("diff",
               Diff(UserPath(operands[0]), operands[1], operands[2], line.Has("json")));
}

}  // namespace watchsnap
