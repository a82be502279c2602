// What the program needs of the emulated KVM host, as functions, so that this folder does not depend on
// testing/: the root's //:watchsnap fills it in from //testing/kvm_host:launcher.
#ifndef WATCHSNAP_SNAPSHOT_CLI_EMULATED_HOST_H_
#define WATCHSNAP_SNAPSHOT_CLI_EMULATED_HOST_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace watchsnap {

struct EmulatedHost {
  // Whether this process runs in the emulated host already.
  std::function<bool()> inside = [] { return false; };
  // Runs `argv` there, with `writable` folders, and returns its exit code; NotFound where its parts are
  // not to be had.
  std::function<absl::StatusOr<int>(std::vector<std::string> argv,
                                    std::vector<std::string> writable)>
      run = [](std::vector<std::string>, std::vector<std::string>) -> absl::StatusOr<int> {
    return absl::UnimplementedError("this program was linked without the emulated KVM host");
  };
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_EMULATED_HOST_H_
