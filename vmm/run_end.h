// How a run of a machine ended.
#ifndef WATCHSNAP_VMM_RUN_END_H_
#define WATCHSNAP_VMM_RUN_END_H_

#include <string>
#include <string_view>

namespace watchsnap {

enum class RunEndKind {
  kPowerOff,      // the guest powered the machine off
  kReset,         // the guest asked for a reboot
  kTripleFault,   // a vCPU shut down (KVM_EXIT_SHUTDOWN)
  kPanic,         // the guest kernel panicked (told by MachineConfig::panic_probe)
  kDeadline,      // the host's deadline passed: the guest hangs or simply runs on
  kInterrupted,   // Machine::Interrupt: a signal, a user, the end of a scenario
  kInternalError, // KVM or the VMM could not go on (KVM_EXIT_INTERNAL_ERROR and the like)
};

// "power-off", "reset", "triple fault", "guest panic", "deadline", "interrupted", "internal error".
std::string_view RunEndKindName(RunEndKind kind);

struct RunEnd {
  RunEndKind kind = RunEndKind::kInterrupted;
  std::string detail;  // in words; may be empty
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_RUN_END_H_
