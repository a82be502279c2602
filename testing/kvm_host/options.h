// What to run in the emulated KVM host, and in what kind of machine; see launcher.h.
#ifndef WATCHSNAP_TESTING_KVM_HOST_OPTIONS_H_
#define WATCHSNAP_TESTING_KVM_HOST_OPTIONS_H_

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace watchsnap {

struct KvmHostOptions {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH if it has no slash
  int cpus = 2;                   // 1 to 16
  int memory_mb = 4000;           // 512 to 65536; taken as it is used
  absl::Duration timeout = absl::InfiniteDuration();  // from the command's start on
  std::vector<std::string>
      writable;                  // existing folders the command may write; launcher.h names others
  std::vector<std::string> env;  // NAME=VALUE, before those of this process that are passed in
  std::string working_dir;       // empty: this process's
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_KVM_HOST_OPTIONS_H_
