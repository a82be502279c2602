// DebugDevice: the pluggable part that turns "tell me when the guest writes here" into traps.
//
// A plugin is handed a DebugTarget (what it may do to the machine), arms watches on guest-virtual
// addresses and, on the vCPU thread that trapped, says which watches were hit. What becomes of a
// hit (freeze, capture, count) is not its business.
//
// Threads
// - Arm and Disarm: any thread that is not a vCPU's; they serialise among themselves. Both are
//   called with the guest running or frozen.
// - OnExit: on the thread of the vCPU that trapped, concurrently with other vCPUs' and with Arm. It
//   must not allocate, format or wait: other vCPUs may be waiting to be frozen by it.
// Errors: a Status that says what was wanted, what the host answered, and which other plugin could
// do it. A failed Arm leaves nothing armed on any vCPU and consumes no slot.
#ifndef WATCHSNAP_DEBUG_DEBUG_DEVICE_H_
#define WATCHSNAP_DEBUG_DEBUG_DEVICE_H_

#include <linux/kvm.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

// What a plugin may do to the machine. Implemented over Machine (MachineDebugTarget) and by a fake.
class DebugTarget {
 public:
  virtual ~DebugTarget() = default;

  virtual int vcpu_count() const = 0;
  // Runs `task` on that vCPU's thread, outside the guest, and waits; works frozen and running.
  virtual absl::Status RunOnVcpu(int vcpu, std::function<absl::Status()> task) = 0;
  // KVM_SET_GUEST_DEBUG and KVM_GET/SET_DEBUGREGS; on that vCPU's own thread only.
  virtual absl::Status SetGuestDebug(int vcpu, const kvm_guest_debug& debug) = 0;
  virtual absl::StatusOr<kvm_debugregs> GetDebugRegs(int vcpu) = 0;
  virtual absl::Status SetDebugRegs(int vcpu, const kvm_debugregs& regs) = 0;
  // Stops all vCPUs, runs `task`, lets them go. Not from a vCPU thread.
  virtual absl::Status WhileFrozen(std::function<absl::Status()> task) = 0;
  // The host address of guest-virtual [kva, kva + length), by the page tables of vCPU `vcpu` as
  // last saved, or nullptr where it is not mapped to RAM or crosses into another page that is not
  // contiguous. Kernel addresses only. Frozen, or on that vCPU's own thread.
  virtual uint8_t* HostAddress(int vcpu, uint64_t kva, uint64_t length) = 0;
  // The registers of that vCPU as last saved; frozen, or on its own thread (then refreshed by
  // SaveRegisters).
  virtual const VcpuRegisters& Registers(int vcpu) = 0;
  virtual void SaveRegisters(int vcpu) = 0;
  // The guest's time-stamp counter when that vCPU last came out of the guest; of -1, when the last of
  // all did. On that vCPU's own thread, or frozen.
  virtual uint64_t GuestCounter(int /*vcpu*/) { return 0; }
  // Empty where pauses are hidden from the guest's clocks, else why not. Any thread.
  virtual std::string_view WhyTimeIsNotHidden() { return ""; }
  // The name of the function that holds the instruction at run-time address `pc`; empty where no
  // symbols are known: a bare guest, a kernel that is not identified yet. Looks through an index of
  // the kernel's functions: not from OnExit.
  virtual std::string FunctionAt(uint64_t) { return ""; }
};

struct WatchSpec {
  uint64_t address = 0;  // KVA
  uint32_t length = 4;   // bytes; what the plugin's capabilities allow
  std::string tag;       // for messages
  // A slot that only its owner asks for (the exit-kind trigger: slot 0 of hw_watch).
  bool reserved_slot = false;
};

using WatchId = int;
inline constexpr WatchId kNoWatch = -1;

struct WatchHit {
  WatchId watch = kNoWatch;
  int slot = -1;  // -1 where the plugin has no slots
  bool reserved_slot = false;  // the watch's WatchSpec said so
  int vcpu = -1;
  uint64_t address = 0;  // of the watch
  uint32_t length = 0;
  // The address after the store (x86_64 traps after it). The store itself is found by decoding
  // forward, later, by whoever renders the hit.
  uint64_t next_pc = 0;
  // The store's own address where the plugin knows it already, else 0.
  uint64_t writer_pc = 0;
  // Count it and let the guest go on: such a hit freezes nobody and becomes no capture; its watch
  // counts it as a hit that was suppressed.
  bool count_only = false;
  bool values_known = false;  // false: the watched bytes could not be read
  uint64_t old_value = 0;
  uint64_t new_value = 0;
};

// A fixed-size list: OnExit does not allocate.
struct WatchHits {
  std::array<WatchHit, 4> hits;
  int count = 0;
};

struct DebugCapabilities {
  int user_watches = 0;  // how many at a time; kUnlimitedWatches where there is no bound
  bool has_reserved_slot = false;
  std::string lengths;  // for people: "1, 2, 4 or 8 bytes, aligned"
  std::string cost;     // for people: "one debug exit a hit"
};
inline constexpr int kUnlimitedWatches = 1 << 20;

class DebugDevice {
 public:
  virtual ~DebugDevice() = default;

  virtual std::string_view Name() const = 0;
  virtual DebugCapabilities Capabilities() const = 0;

  // Returns only when every vCPU runs with the watch, or fails and leaves nothing armed.
  virtual absl::StatusOr<WatchId> Arm(const WatchSpec& spec) = 0;
  virtual absl::Status Disarm(WatchId watch) = 0;

  // Moves an armed watch to another place, for a watch that follows a pointer: on every vCPU, or
  // nothing changes. Only while the caller holds a freeze, on the vCPU thread that leads it or on
  // another; it waits for nobody but parked vCPUs.
  virtual absl::Status Retarget(WatchId /*watch*/, uint64_t /*address*/, uint32_t /*length*/) {
    return absl::UnimplementedError("this debug plugin cannot move a watch");
  }

  // A KVM_EXIT_DEBUG of `vcpu`. Fills `hits` with the watches that were hit, all slots of the exit.
  // What is not this plugin's goes back to the guest whole, inside the call.
  virtual void OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) = 0;

  // What the plugin has to tell of a run besides its hits, as lines for people and tests. Called once
  // the vCPUs have stopped, on the thread that made the device; DebugTarget::FunctionAt works.
  virtual std::vector<std::string> Summary() { return {}; }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DEBUG_DEVICE_H_
