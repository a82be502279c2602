// What a command in the emulated KVM host gets of this process: environment and writable folders.
#ifndef WATCHSNAP_TESTING_KVM_HOST_JOB_H_
#define WATCHSNAP_TESTING_KVM_HOST_JOB_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "testing/kvm_host/options.h"

namespace watchsnap::kvm_host {

struct Job {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::vector<std::string>
      writable;  // absolute, without symlinks, outer folders before those in them
  std::string working_dir;

  // As protocol.h has it.
  std::string Serialize() const;
};

// Checks the options and completes them from this process's environment, which is passed as
// `environment` (as in environ).
absl::StatusOr<Job> MakeJob(const KvmHostOptions& options, const char* const* environment);

}  // namespace watchsnap::kvm_host

#endif  // WATCHSNAP_TESTING_KVM_HOST_JOB_H_
