#include "snapshot/cli/command_line.h"

#include <getopt.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {

CommandLine::CommandLine(std::string command, std::string summary, std::string operands,
                         std::vector<CommandOption> options)
    : command_(std::move(command)),
      summary_(std::move(summary)),
      operands_(std::move(operands)),
      options_(std::move(options)) {}

absl::Status CommandLine::Parse(const std::vector<std::string>& arguments) {
  std::vector<option> table;
  for (const CommandOption& entry : options_) {
    table.push_back({entry.name.c_str(), entry.value.empty() ? no_argument : required_argument,
                     nullptr, 0});
  }
  table.push_back({"help", no_argument, nullptr, 0});
  table.push_back({nullptr, 0, nullptr, 0});
  std::vector<std::string> storage = {command_};
  storage.insert(storage.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : storage) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int argc = static_cast<int>(storage.size());

  optind = 0;  // glibc: start afresh
  opterr = 0;
  for (;;) {
    const int before = std::max(optind, 1);
    int index = -1;
    const int result = getopt_long(argc, argv.data(), ":", table.data(), &index);
    if (result == -1) break;
    if (result == 0) {
      values_[table[index].name].push_back(optarg != nullptr ? optarg : "");
      continue;
    }
    const std::string given = argv[std::min(optind > before ? optind - 1 : before, argc - 1)];
    return absl::InvalidArgumentError(
        absl::StrCat(result == ':' ? absl::StrCat("option '", given, "' needs a value")
                                   : absl::StrCat("unknown option or unwanted value: '", given, "'"),
                     "; see '", command_, " --help'"));
  }
  for (int i = optind; i < argc; ++i) operand_values_.push_back(argv[i]);
  return absl::OkStatus();
}

bool CommandLine::Has(std::string_view name) const { return values_.find(name) != values_.end(); }

std::string CommandLine::Get(std::string_view name, std::string_view otherwise) const {
  auto it = values_.find(name);
  return it == values_.end() ? std::string(otherwise) : it->second.back();
}

std::vector<std::string> CommandLine::All(std::string_view name) const {
  auto it = values_.find(name);
  return it == values_.end() ? std::vector<std::string>() : it->second;
}

absl::StatusOr<int64_t> CommandLine::GetInt(std::string_view name, int64_t otherwise, int64_t least,
                                            int64_t most) const {
  if (!Has(name)) return otherwise;
  int64_t value = 0;
  if (!absl::SimpleAtoi(Get(name), &value) || value < least || value > most) {
    return absl::InvalidArgumentError(absl::StrCat("--", name, " wants a number from ",
                                                   least, " to ", most, ", not '", Get(name), "'"));
  }
  return value;
}

std::string CommandLine::Help() const {
  std::string help = absl::StrCat(summary_, "\n\nUsage: ", command_,
                                  options_.empty() ? "" : " [OPTION…]",
                                  operands_.empty() ? "" : " ", operands_, "\n");
  size_t width = 6;
  for (const CommandOption& entry : options_) {
    width = std::max(width, entry.name.size() + entry.value.size() + 3);
  }
  for (const CommandOption& entry : options_) {
    const std::string left =
        absl::StrCat("--", entry.name, entry.value.empty() ? "" : " ", entry.value);
    absl::StrAppendFormat(&help, "  %-*s  %s\n", static_cast<int>(width), left, entry.help);
  }
  absl::StrAppendFormat(&help, "  %-*s  %s\n", static_cast<int>(width), "--help", "this text");
  return help;
}

}  // namespace watchsnap
