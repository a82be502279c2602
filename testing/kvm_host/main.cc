// kvm_host [OPTION…] [--] COMMAND [ARGUMENT…]: see kUsage.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "testing/kvm_host/launcher.h"

namespace watchsnap {
namespace {

constexpr char kUsage[] = R"(kvm_host [OPTION...] [--] COMMAND [ARGUMENT...]

Runs a command of this machine, as root, in an emulated x86_64 machine whose /dev/kvm is Linux's own kvm_amd with working hardware
watchpoints, and returns its exit code. It sees this machine's files read-only; /tmp and /var/tmp can be written but are lost.
No network; the command's input is empty.

  --writable DIR    a folder the command may write (repeated; default: the current folder)
  --cpus N          default 2
  --memory-mb N     default 4000
  --timeout SECONDS ends the command with SIGTERM, and 10 s later the machine; default: none
  --env NAME=VALUE  more environment (repeated); PATH, HOME, TEST_*, GTEST_*, WATCHSNAP_* and the like are passed in anyway
  --help

Exit code: the command's (128 + signal if it was killed); 124 past the time-out; 125 if the machine could not run it; 2 for wrong usage.
WATCHSNAP_KVM_HOST_LOG=1 in the environment shows the console of the emulated machine.
)";

absl::Status ParseArguments(int argc, char** argv, KvmHostOptions& options, bool& help) {
  int at = 1;
  for (; at < argc && absl::StartsWith(argv[at], "-"); ++at) {
    std::string_view name = argv[at];
    if (name == "--") {
      ++at;
      break;
    }
    if (name == "--help" || name == "-h") {
      help = true;
      return absl::OkStatus();
    }
    std::string value;
    if (const size_t equals = name.find('='); equals != name.npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    } else if (at + 1 < argc) {
      value = argv[++at];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    }
    int number = 0;
    if (name == "--writable") {
      options.writable.push_back(value);
    } else if (name == "--env") {
      options.env.push_back(value);
    } else if (name == "--cpus" || name == "--memory-mb" || name == "--timeout") {
      if (!absl::SimpleAtoi(value, &number) || number < 1) {
        return absl::InvalidArgumentError(absl::StrCat(name, " takes a number, not ", value));
      }
      if (name == "--cpus") options.cpus = number;
      if (name == "--memory-mb") options.memory_mb = number;
      if (name == "--timeout") options.timeout = absl::Seconds(number);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("unknown option ", name));
    }
  }
  options.argv.assign(argv + at, argv + argc);
  if (options.argv.empty()) return absl::InvalidArgumentError("no command given");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  KvmHostOptions options;
  bool help = false;
  // Relative paths are the user's, also under `bazel run`.
  if (const char* dir = getenv("BUILD_WORKING_DIRECTORY"); dir != nullptr && chdir(dir) != 0) {
    fprintf(stderr, "kvm_host: cannot change to %s\n", dir);
    return 2;
  }
  if (absl::Status status = ParseArguments(argc, argv, options, help); !status.ok()) {
    fprintf(stderr, "kvm_host: %s\n\n%s", std::string(status.message()).c_str(), kUsage);
    return 2;
  }
  if (help) {
    fputs(kUsage, stdout);
    return 0;
  }
  if (options.writable.empty()) options.writable.push_back(".");
  const absl::StatusOr<int> code = RunInKvmHost(options);
  if (code.ok()) return *code;
  fprintf(stderr, "kvm_host: %s\n", std::string(code.status().message()).c_str());
  if (absl::IsInvalidArgument(code.status())) return 2;
  return absl::IsDeadlineExceeded(code.status()) ? 124 : 125;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) { return watchsnap::Main(argc, argv); }
