// The QEMU process of the emulated KVM host.
//
// Threads: none of its own; one thread uses an object. The process dies with the thread that
// started it.
#ifndef WATCHSNAP_TESTING_KVM_HOST_EMULATOR_H_
#define WATCHSNAP_TESTING_KVM_HOST_EMULATOR_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "testing/kvm_host/parts.h"

namespace watchsnap::kvm_host {

struct EmulatorOptions {
  int cpus = 2;
  int memory_mb = 4000;
  std::vector<std::string> writable;  // folders shared writable, with the tags of protocol.h
};

// The command line for QEMU; `port_fd` is the socket of the port to the agent.
std::vector<std::string> EmulatorCommand(const Parts& parts, const EmulatorOptions& options,
                                         int port_fd);

class Emulator {
 public:
  static absl::StatusOr<std::unique_ptr<Emulator>> Start(const Parts& parts,
                                                         const EmulatorOptions& options);
  // Kills the process if it runs and waits for it.
  ~Emulator();

  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  // Our end of the port to the agent: end of file once the emulator has ended.
  int port() const { return port_; }
  // What the emulator and the kernel's console say, for error messages.
  int log() const { return log_; }

 private:
  Emulator(pid_t pid, int port, int log) : pid_(pid), port_(port), log_(log) {}

  const pid_t pid_;
  const int port_;
  const int log_;
};

}  // namespace watchsnap::kvm_host

#endif  // WATCHSNAP_TESTING_KVM_HOST_EMULATOR_H_
