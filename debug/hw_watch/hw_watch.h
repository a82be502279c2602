// HwWatch: watches by the processor's own watchpoints, through KVM_SET_GUEST_DEBUG.
//
// Four slots. Slot 0 is served only to a WatchSpec with `reserved_slot` (the exit-kind trigger);
// slots 1 to 3 are the user's. A watch is 1, 2, 4 or 8 bytes, aligned to its length, of mapped
// memory. A write traps after the store: the new value is in memory already, so each watch
// remembers the last value it saw, and that is the old value of the next hit. Exact for one writer
// at a time; of two vCPUs that store at once, a hit may show the other's value already (then the
// other shows old = new). What the processor does not see does not trap: writes of the VMM (virtio)
// and of KVM (kvmclock), and instructions that KVM emulates.
//
// Two user watches never overlap (Arm refuses it). A user watch may overlap the reserved one: then
// a hit on one that lies wholly in the other counts for both, also where the host names one slot
// only.
//
// Threads: Arm and Disarm from any thread that is not a vCPU's, one at a time (they serialise);
// each vCPU is set on its own thread, under a freeze. OnExit on vCPU threads; it takes one short
// lock.
// Ownership: borrows the DebugTarget, which must outlive it. The host address of a watched word is
// taken at Arm: a watch on memory that the guest later maps elsewhere goes on showing the old
// bytes.
// Errors: InvalidArgument (length, alignment), AlreadyExists (overlap), ResourceExhausted (slots),
// NotFound (not mapped), FailedPrecondition (the host does not deliver), else what KVM answered. A
// failed Arm leaves nothing armed on any vCPU and its slot free.
#ifndef WATCHSNAP_DEBUG_HW_WATCH_HW_WATCH_H_
#define WATCHSNAP_DEBUG_HW_WATCH_HW_WATCH_H_

#include <linux/kvm.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "debug/debug_device.h"
#include "debug/hw_watch/x86_64/debug_registers.h"

namespace watchsnap {

class HwWatch : public DebugDevice {
 public:
  // `host_delivers` is asked at the first Arm: OK where this host is known to deliver what it
  // accepts.
  HwWatch(DebugTarget& target, std::function<absl::Status()> host_delivers)
      : target_(target), host_delivers_(std::move(host_delivers)) {}

  std::string_view Name() const override { return "hw_watch"; }
  DebugCapabilities Capabilities() const override;
  absl::Status TryHost(int /*vcpus*/) override { return host_delivers_(); }
  absl::StatusOr<WatchId> Arm(const WatchSpec& spec) override;
  absl::Status Disarm(WatchId watch) override;
  absl::Status Retarget(WatchId watch, uint64_t address, uint32_t length) override;
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) override;

 private:
  static constexpr int kReservedSlot = 0;
  static constexpr int kFirstUserSlot = 1;

  struct Slot {
    WatchId watch = kNoWatch;  // kNoWatch: free
    uint64_t address = 0;
    uint32_t length = 0;
    std::string tag;
    const uint8_t* host = nullptr;  // the watched bytes
    uint64_t last_value = 0;
  };
  using Slots = std::array<Slot, x86_64::kDebugSlots>;

  absl::StatusOr<int> ChooseSlot(const WatchSpec& spec) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status ArmFrozen(int slot, WatchId watch, const WatchSpec& spec)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<const uint8_t*> FindHostAddress(const WatchSpec& spec);
  // Sets `wanted` on every vCPU, each on its own thread; on a failure sets `previous` again on
  // those already changed.
  absl::Status SetOnAllVcpus(const kvm_guest_debug& wanted, const kvm_guest_debug& previous);
  static kvm_guest_debug StateFor(const Slots& slots);

  DebugTarget& target_;
  const std::function<absl::Status()> host_delivers_;

  absl::Mutex arm_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  bool known_to_deliver_ ABSL_GUARDED_BY(arm_mutex_) = false;
  WatchId next_watch_ ABSL_GUARDED_BY(arm_mutex_) = 1;

  // Held for a few memory accesses only, never across a call to the target: vCPU threads take it.
  absl::Mutex mutex_;
  Slots slots_ ABSL_GUARDED_BY(mutex_);
  // What every vCPU runs with.
  kvm_guest_debug state_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_HW_WATCH_HW_WATCH_H_
