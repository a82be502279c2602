#include "testing/scenario/where_it_runs.h"

#include <stdlib.h>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "debug/hw_watch/self_test.h"
#include "testing/kvm_host/launcher.h"
#include "testing/scenario/self.h"

namespace watchsnap {
namespace {

// The emulated host has two processors: with more, those of a small machine would only wait for
// each other.
constexpr int kEmulatedCpus = 2;

absl::Duration EmulatedTimeout() {
  int seconds = 0;
  const char* bazel = getenv("TEST_TIMEOUT");
  if (bazel != nullptr && absl::SimpleAtoi(bazel, &seconds) && seconds > 30)
    return absl::Seconds(seconds - 15);
  return absl::Minutes(30);
}

}  // namespace

absl::StatusOr<Place> ChoosePlace(HostChoice choice) {
  if (InsideKvmHost()) return Place{.here = true, .reason = "inside the emulated KVM host"};
  if (choice == HostChoice::kDirect) return Place{.here = true, .reason = "directly, as asked"};
  if (choice == HostChoice::kEmulated)
    return Place{.here = false, .reason = "in the emulated KVM host, as asked"};
  const absl::Status delivers = HwWatchDeliversHere();
  if (delivers.ok())
    return Place{.here = true, .reason = "directly: /dev/kvm delivers watchpoints"};
  return Place{.here = false,
               .reason = absl::StrCat("in the emulated KVM host, because: ", delivers.message())};
}

absl::StatusOr<int> RunAgainInEmulatedHost(const std::vector<std::string>& arguments,
                                           const std::string& outputs_folder) {
  KvmHostOptions options;
  options.argv = {SelfPath()};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.cpus = kEmulatedCpus;
  options.timeout = EmulatedTimeout();
  options.writable = {outputs_folder};
  return RunInKvmHost(options);
}

}  // namespace watchsnap
