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
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/step_end.h"
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

  // For plugins that watch by page protection. Targets that stand for no machine have none of it.
  // The guest-physical address of `kva`, by the page tables of `vcpu` as last saved; nullopt where it
  // is not mapped. As HostAddress: frozen, or on that vCPU's own thread.
  virtual std::optional<uint64_t> GuestPhysical(int /*vcpu*/, uint64_t /*kva*/) {
    return std::nullopt;
  }
  // The host address of guest-physical [gpa, gpa + length), or nullptr where it is no RAM.
  virtual uint8_t* HostOfPhysical(uint64_t /*gpa*/, uint64_t /*length*/) { return nullptr; }
  // Pages whose stores exit (vmm/page_protection.h); only under a freeze, by whoever holds it.
  virtual absl::Status SetReadOnlyPages(absl::Span<const uint64_t> /*pages*/) {
    return absl::UnimplementedError("this debug target has no pages to protect");
  }
  virtual absl::Status SetHostProtected(absl::Span<const uint64_t> /*pages*/, bool /*on*/) {
    return absl::UnimplementedError("this debug target has no pages to protect");
  }
  // On the thread of `vcpu`, inside a DebugDevice call other than OnMmio: freezes all others, runs `task`
  // and lets them go. Waits its turn behind another freeze, parked for it: what was known of the guest
  // before may have changed.
  virtual absl::Status LeadFrozen(int /*vcpu*/, absl::FunctionRef<absl::Status()> /*task*/) {
    return absl::UnimplementedError("this debug target cannot freeze from a vCPU's thread");
  }
  // Within LeadFrozen: one instruction of `vcpu`, natively (Vcpu::Step).
  virtual absl::StatusOr<StepEnd> Step(int /*vcpu*/) {
    return absl::UnimplementedError("this debug target cannot step");
  }
  // Vcpu::GuestTraces and GiveTrace; the first also from OnMmio.
  virtual bool GuestTraces(int /*vcpu*/) { return false; }
  virtual absl::Status GiveTrace(int /*vcpu*/) {
    return absl::UnimplementedError("this debug target has no exceptions");
  }
  // Vcpu::DropQueuedException.
  virtual absl::Status DropQueuedException(int /*vcpu*/, uint8_t /*vector*/) {
    return absl::UnimplementedError("this debug target has no exceptions");
  }
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
  // Of a watch longer than 8 bytes: of the bytes at stored_address, at most 8.
  uint64_t old_value = 0;
  uint64_t new_value = 0;
  // What of the watch the store wrote, where the plugin knows it; 0: not known.
  uint64_t stored_address = 0;
  uint32_t stored_bytes = 0;
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
  // Any length at any address. Else 1, 2, 4 or 8 bytes, aligned to the length, and the rest is refused.
  bool any_length = false;
};
inline constexpr int kUnlimitedWatches = 1 << 20;

// What a plugin made of a guest access to memory that KVM did not serve.
enum class MmioAnswer {
  kNotMine,
  kServed,                  // done, as the guest wanted it
  kServedTellWhenComplete,  // done; OnMmioComplete is wanted once the instruction is over
};

class DebugDevice {
 public:
  virtual ~DebugDevice() = default;

  virtual std::string_view Name() const = 0;
  virtual DebugCapabilities Capabilities() const = 0;
  // Whether this plugin works on this host, for a machine with so many vCPUs: tried, where it can be.
  // Any thread, with or without a machine; may take seconds. The first Arm of a process asks it too.
  virtual absl::Status TryHost(int /*vcpus*/) { return absl::OkStatus(); }

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

  // For plugins that watch by page protection, all on the thread of `vcpu`, under the rules of OnExit
  // (but for LeadFrozen, where it is allowed). VcpuExitObserver (vmm/vcpu.h) says when they come.
  virtual MmioAnswer OnMmio(int /*vcpu*/, uint64_t /*gpa*/, absl::Span<uint8_t> /*data*/,
                            bool /*is_write*/) {
    return MmioAnswer::kNotMine;
  }
  virtual void OnMmioComplete(int /*vcpu*/, WatchHits& /*hits*/) {}
  // True: the vCPU may go on.
  virtual bool OnMemoryFault(int /*vcpu*/, WatchHits& /*hits*/) { return false; }
  // True: the vCPU may go on. Else `explanation` is told with the end of the run.
  virtual bool OnInternalError(int /*vcpu*/, WatchHits& /*hits*/, std::string& /*explanation*/) {
    return false;
  }
  // Called after each of these that filled `hits`, until it leaves them empty: one store may hit more
  // watches than a WatchHits holds.
  virtual void MoreHits(int /*vcpu*/, WatchHits& hits) { hits.count = 0; }

  // What the plugin has to tell of a run besides its hits, as lines for people and tests. Called once
  // the vCPUs have stopped, on the thread that made the device; DebugTarget::FunctionAt works.
  virtual std::vector<std::string> Summary() { return {}; }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DEBUG_DEVICE_H_
