// CommandLine: the options of one subcommand, over getopt_long(3).
//
//   CommandLine line("watchsnap run", "Boots a kernel and watches symbols.", {
//       {"vmlinux", "FILE", "ELF kernel with symbols (required)"},
//       {"watch", "SYM[,SYM…]", "…"}, {"json", "", "one JSON document a line"}});
//   absl::Status status = line.Parse(args);
//
// An option may be repeated: All() gives every value in order, Get() the last. Options without a value
// placeholder are switches. `--help` is every command's.
// Why not Abseil flags: they are one set for the whole process, keep the last value of a repeated
// option and exit with 1 on a mistake, where CONTRACT says 2 for usage.
#ifndef WATCHSNAP_SNAPSHOT_CLI_COMMAND_LINE_H_
#define WATCHSNAP_SNAPSHOT_CLI_COMMAND_LINE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace watchsnap {

struct CommandOption {
  std::string name;   // without the dashes
  std::string value;  // placeholder for --help; empty: a switch
  std::string help;
};

class CommandLine {
 public:
  CommandLine(std::string command, std::string summary, std::string operands,
              std::vector<CommandOption> options);

  // InvalidArgument for an unknown option or a missing value; the message does not name the command.
  absl::Status Parse(const std::vector<std::string>& arguments);

  bool Has(std::string_view name) const;
  // The last value, or `otherwise`.
  std::string Get(std::string_view name, std::string_view otherwise = "") const;
  std::vector<std::string> All(std::string_view name) const;
  absl::StatusOr<int64_t> GetInt(std::string_view name, int64_t otherwise, int64_t least,
                                 int64_t most) const;
  const std::vector<std::string>& operands() const { return operand_values_; }
  std::string Help() const;

 private:
  const std::string command_;
  const std::string summary_;
  const std::string operands_;
  const std::vector<CommandOption> options_;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  std::vector<std::string> operand_values_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_COMMAND_LINE_H_
