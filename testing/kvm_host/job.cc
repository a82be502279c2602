#include "testing/kvm_host/job.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "testing/kvm_host/protocol.h"

namespace watchsnap::kvm_host {
namespace {

constexpr size_t kMaxWritable = 16;  // each takes one of the machine's virtio transports

bool IsPassedIn(std::string_view name) {
  for (std::string_view exact : {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TERM",
                                 "XML_OUTPUT_FILE", "JAVA_RUNFILES", "PYTHON_RUNFILES"}) {
    if (name == exact) return true;
  }
  for (std::string_view prefix : {"LC_", "TEST_", "TESTBRIDGE_", "RUNFILES_", "GTEST_", "BUILD_",
                                  "BENCHMARK_", "WATCHSNAP_"}) {
    if (absl::StartsWith(name, prefix)) return true;
  }
  return absl::EndsWith(name, "SAN_OPTIONS");
}

// The variables by which Bazel tells a test where to write, and whether they name a file or a
// folder.
constexpr std::pair<const char*, bool> kOutputVariables[] = {
    {"TEST_TMPDIR", false},
    {"TEST_UNDECLARED_OUTPUTS_DIR", false},
    {"TEST_UNDECLARED_OUTPUTS_ANNOTATIONS_DIR", false},
    {"XML_OUTPUT_FILE", true},
    {"TEST_PREMATURE_EXIT_FILE", true},
    {"TEST_SHARD_STATUS_FILE", true},
    {"TEST_WARNINGS_OUTPUT_FILE", true},
};

// Empty if it is no folder.
std::string RealDir(const std::string& path) {
  char resolved[PATH_MAX];
  struct stat info;
  if (realpath(path.c_str(), resolved) == nullptr || stat(resolved, &info) != 0) return "";
  return S_ISDIR(info.st_mode) ? resolved : "";
}

std::string ParentOf(std::string path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

// Sorted, so that folders come before those in them; those are left out.
std::vector<std::string> WithoutNested(std::vector<std::string> dirs) {
  std::sort(dirs.begin(), dirs.end());
  std::vector<std::string> outer;
  for (const std::string& dir : dirs) {
    const bool nested = std::any_of(outer.begin(), outer.end(), [&](const std::string& o) {
      return dir == o || o == "/" || absl::StartsWith(dir, o + "/");
    });
    if (!nested) outer.push_back(dir);
  }
  return outer;
}

}  // namespace

std::string Job::Serialize() const {
  std::string wire;
  const auto add = [&wire](JobField field, const std::string& value) {
    wire += field;
    wire += value;
    wire += '\0';
  };
  for (const std::string& s : arguments) add(kArgument, s);
  for (const std::string& s : environment) add(kEnvironment, s);
  for (const std::string& s : writable) add(kWritableDir, s);
  add(kWorkingDir, working_dir);
  wire += '\0';
  return wire;
}

absl::StatusOr<Job> MakeJob(const KvmHostOptions& options, const char* const* environment) {
  if (options.argv.empty() || options.argv[0].empty()) {
    return absl::InvalidArgumentError("no command to run in the KVM host");
  }
  if (options.cpus < 1 || options.cpus > 16) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KVM host can have 1 to 16 CPUs, not ", options.cpus));
  }
  if (options.memory_mb < 512 || options.memory_mb > 65536) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KVM host can have 512 to 65536 MB of memory, not ", options.memory_mb));
  }
  Job job;
  job.arguments = options.argv;
  char path[PATH_MAX];
  if (job.arguments[0] == "/proc/self/exe" && realpath("/proc/self/exe", path) != nullptr) {
    job.arguments[0] = path;
  }
  job.working_dir = RealDir(options.working_dir.empty() ? "." : options.working_dir);
  if (job.working_dir.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the working folder ", options.working_dir, " is not there"));
  }

  std::map<std::string, std::string, std::less<>> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const size_t equals = entry.find('=');
    if (equals == entry.npos || !IsPassedIn(entry.substr(0, equals))) continue;
    variables[std::string(entry.substr(0, equals))] = entry.substr(equals + 1);
  }
  for (const std::string& entry : options.env) {
    const size_t equals = entry.find('=');
    if (equals == 0 || equals == entry.npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("an environment entry is NAME=VALUE, not \"", entry, "\""));
    }
    variables[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  variables.try_emplace("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  variables["WATCHSNAP_INSIDE_KVM_HOST"] = "1";
  for (const auto& [name, value] : variables) {
    job.environment.push_back(absl::StrCat(name, "=", value));
  }

  for (const std::string& dir : options.writable) {
    const std::string real = RealDir(dir);
    if (real.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the writable folder ", dir, " is not there: make it first"));
    }
    job.writable.push_back(real);
  }
  for (const auto& [name, is_file] : kOutputVariables) {
    const auto found = variables.find(name);
    if (found == variables.end() || found->second.empty()) continue;
    const std::string real = RealDir(is_file ? ParentOf(found->second) : found->second);
    if (!real.empty()) job.writable.push_back(real);
  }
  job.writable = WithoutNested(std::move(job.writable));
  if (job.writable.size() > kMaxWritable) {
    return absl::InvalidArgumentError(absl::StrCat("the KVM host takes at most ", kMaxWritable,
                                                   " writable folders, not ", job.writable.size()));
  }
  return job;
}

}  // namespace watchsnap::kvm_host
