// Where the files are that the emulated KVM host is made of.
#ifndef WATCHSNAP_TESTING_KVM_HOST_PARTS_H_
#define WATCHSNAP_TESTING_KVM_HOST_PARTS_H_

#include <string>

#include "absl/status/statusor.h"

namespace watchsnap::kvm_host {

struct Parts {
  std::string qemu_dir;   // with bin/, lib/ and share/
  std::string kernel;     // bzImage
  std::string initramfs;  // with the agent
};

// Looks in the runfiles of this process: those that the environment names (a test), beside argv[0]
// and beside /proc/self/exe
// (`bazel run`, or the program called directly). NotFound names what was looked for and where.
absl::StatusOr<Parts> FindParts();

}  // namespace watchsnap::kvm_host

#endif  // WATCHSNAP_TESTING_KVM_HOST_PARTS_H_
