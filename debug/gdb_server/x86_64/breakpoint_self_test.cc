#include "debug/gdb_server/x86_64/breakpoint_self_test.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "debug/hw_watch/x86_64/debug_registers.h"
#include "vmm/machine.h"

namespace watchsnap::gdb {
namespace {

constexpr uint64_t kLoadGpa = 0x100000;
constexpr absl::Duration kDeadline = absl::Seconds(5);

// Written on the one vCPU's thread, read when that has been joined.
class Recorder : public VcpuExitObserver {
 public:
  void OnDebugExit(Vcpu&, const kvm_debug_exit_arch& exit) override {
    delivered = exit.exception == x86_64::kBreakpointException && exit.pc == kLoadGpa;
    machine->Interrupt("the self-test is done");
  }
  Machine* machine = nullptr;
  bool delivered = false;
};

absl::StatusOr<bool> Try() {
  Recorder recorder;
  MachineConfig config;
  config.memory_bytes = 2 << 20;
  // INT3; then, where it is ignored, HLT for ever. Where the guest gets it there is no IDT: it shuts down.
  config.boot = BareBoot{.image = {0xcc, 0xf4, 0xeb, 0xfd}, .load_gpa = kLoadGpa, .entry = kLoadGpa};
  config.observer = &recorder;
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  if (!machine.ok()) return machine.status();
  recorder.machine = machine->get();
  absl::Status status = (*machine)->RunOnVcpu(0, [](Vcpu& vcpu) {
    kvm_guest_debug debug = {};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    return vcpu.SetGuestDebug(debug);
  });
  if (!status.ok()) return status;
  status = (*machine)->Start();
  if (!status.ok()) return status;
  (void)(*machine)->Wait(absl::Now() + kDeadline);
  (*machine)->Stop();
  return recorder.delivered;
}

}  // namespace

bool BreakpointInstructionsAreDelivered() {
  static absl::Mutex mutex;
  static std::optional<bool> known ABSL_GUARDED_BY(mutex);
  absl::MutexLock lock(&mutex);
  if (!known.has_value()) {
    const absl::StatusOr<bool> tried = Try();
    if (!tried.ok()) {
      LOG(WARNING) << "whether breakpoint instructions are delivered could not be tried: " << tried.status();
    }
    known = tried.value_or(false);
  }
  return *known;
}

}  // namespace watchsnap::gdb
