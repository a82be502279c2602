#include "testing/scenario/host_options.h"

#include <stdlib.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "testing/scenario/self.h"

namespace watchsnap {

// Replaced by the one that watch_scenario_test generates.
__attribute__((weak)) extern const char* const kBuiltInArguments[] = {nullptr};

namespace {

absl::Status ParseNumber(std::string_view name, std::string_view value, int lowest, int highest,
                         int& number) {
  if (absl::SimpleAtoi(value, &number) && number >= lowest && number <= highest)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", name, "=", value, ": a number from ", lowest,
                                                 " to ", highest, " is wanted"));
}

absl::Status ParseHost(std::string_view value, HostChoice& host) {
  if (value == "auto") {
    host = HostChoice::kAuto;
  } else if (value == "direct") {
    host = HostChoice::kDirect;
  } else if (value == "emulated") {
    host = HostChoice::kEmulated;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("--host=", value, ": auto, direct or emulated is wanted"));
  }
  return absl::OkStatus();
}

absl::Status Apply(std::string_view name, std::string_view value, HostOptions& options) {
  if (name == "vmlinux") {
    options.vmlinux = value;
  } else if (name == "kernel") {
    options.kernel = value;
  } else if (name == "cpus") {
    options.topology.reset();
    return ParseNumber(name, value, 1, CpuTopology::kMaxVcpus, options.cpus);
  } else if (name == "topology") {
    absl::StatusOr<CpuTopology> topology = ParseCpuTopology(value);
    if (!topology.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--topology=", value, ": ", topology.status().message()));
    }
    options.topology = *topology;
    options.cpus = topology->vcpus();
  } else if (name == "memory_mb") {
    return ParseNumber(name, value, 64, 1 << 20, options.memory_mb);
  } else if (name == "duration_s") {
    double seconds = 0;
    if (!absl::SimpleAtod(value, &seconds) || seconds < 0 || seconds > 86'400) {
      return absl::InvalidArgumentError(
          absl::StrCat("--duration_s=", value, ": seconds are wanted, up to a day"));
    }
    options.duration = absl::Seconds(seconds);
  } else if (name == "append") {
    if (!value.empty()) absl::StrAppend(&options.append, options.append.empty() ? "" : " ", value);
  } else if (name == "debug_plugin") {
    options.debug_plugin = value;
  } else if (name == "guest_data") {
    options.guest_data.emplace_back(value);
  } else if (name == "scheduler") {
    options.scheduler = value;
  } else if (name == "schedulers") {
    options.schedulers.emplace_back(value);
  } else if (name == "bpf_loader") {
    options.bpf_loader = value;
  } else if (name == "expect_scheduler_error") {
    options.expect_scheduler_error = value;
  } else if (name == "host") {
    return ParseHost(value, options.host);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown argument --", name,
        "; there are --vmlinux --kernel --cpus --topology --memory_mb --duration_s ",
        "--append --debug_plugin --guest_data --scheduler --schedulers --bpf_loader ",
        "--expect_scheduler_error --host, each with =VALUE, and gtest's own"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> AllArguments(const std::vector<std::string>& command_line) {
  std::vector<std::string> arguments;
  for (const char* const* built_in = kBuiltInArguments; *built_in != nullptr; ++built_in) {
    arguments.push_back(*built_in);
  }
  arguments.insert(arguments.end(), command_line.begin(), command_line.end());
  return arguments;
}

absl::StatusOr<HostOptions> ParseHostOptions(const std::vector<std::string>& arguments) {
  HostOptions options;
  for (const std::string& argument : arguments) {
    std::string_view rest = argument;
    const size_t equals = rest.find('=');
    if (!absl::ConsumePrefix(&rest, "--") || equals == std::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument '", argument, "' is not of the form --NAME=VALUE"));
    }
    if (absl::Status status = Apply(rest.substr(0, equals - 2), rest.substr(equals - 1), options);
        !status.ok()) {
      return status;
    }
  }
  if (const char* host = getenv("WATCHSNAP_HOST");
      host != nullptr && options.host == HostChoice::kAuto) {
    if (absl::Status status = ParseHost(host, options.host); !status.ok()) return status;
  }
  return options;
}

absl::StatusOr<std::string> FindInputFile(const std::string& path) {
  std::vector<std::string> candidates = {path};
  if (!absl::StartsWith(path, "/")) {
    for (const std::string& root : RunfilesRoots())
      candidates.push_back(absl::StrCat(root, "/", path));
  }
  for (const std::string& candidate : candidates) {
    if (access(candidate.c_str(), R_OK) == 0) return candidate;
  }
  return absl::NotFoundError(
      absl::StrCat("there is no file ", absl::StrJoin(candidates, ", nor ")));
}

}  // namespace watchsnap
