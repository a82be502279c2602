// ExitKindTrigger: the watch on slot 0 that follows a sched_ext scheduler's exit, without polling.
//
// Where it stands. It watches the pointer `scx_root`; when a scheduler loads, the vCPU that stores the
// pointer freezes the others, and before any of them runs again the watch has moved to
// scx_root->exit_kind: an error in the scheduler's first microsecond is not missed. The first
// error-class value there (>= SCX_EXIT_ERROR) is captured at that instant. The kernel fills in reason,
// message and backtrace afterwards and then stores SCX_EXIT_DONE, which is captured too, as the
// completion; then the watch goes back to scx_root. Kernels before 6.16 have a global `scx_exit_kind`
// instead, which is watched where it is (not seen running).
//
// Threads: Create and Arm on the coordinating thread, with the guest running; Judge and WhileFrozen as
// HitRule says. Ownership: borrows device and view, which outlive the vCPUs.
// Errors: Create is Unimplemented for a kernel without sched_ext, NotFound for one whose types lack
// what is needed; Arm gives the plugin's status.
// Sources: Linux kernel/sched/ext.c (scx_claim_exit, scx_disable_workfn), ext_internal.h
// (struct scx_sched, enum scx_exit_kind).
#ifndef WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_TRIGGER_H_
#define WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_TRIGGER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/debug_device.h"
#include "snapshot/capture/hit_rule.h"
#include "snapshot/evidence/frozen_memory.h"
#include "snapshot/scx/exit_kind_layout.h"

namespace watchsnap {

class ExitKindTrigger : public HitRule {
 public:
  ExitKindTrigger(const ExitKindLayout& layout, DebugDevice* device, const FrozenMemory* memory)
      : layout_(layout), device_(device), memory_(memory) {}

  // What to watch first; for the coordinator's table and for messages.
  WatchSpec FirstWatch() const;
  // Arms it. `frozen` stops all vCPUs and runs its argument: a scheduler that is there already is
  // followed at once.
  absl::Status Arm(const std::function<absl::Status(std::function<absl::Status()>)>& frozen);

  Action Judge(const WatchHit& hit) override;
  void WhileFrozen(const WatchHit& hit) override;

  bool IsError(uint64_t kind) const { return kind >= layout_.error; }
  bool IsDone(uint64_t kind) const { return kind == layout_.done; }
  // How many schedulers were followed so far.
  int schedulers() const { return schedulers_.load(); }

 private:
  static constexpr uint32_t kPointerBytes = 8;
  static constexpr uint32_t kKindBytes = 4;
  bool WatchesRoot(const WatchHit& hit) const {
    return layout_.root_address != 0 && hit.address == layout_.root_address;
  }
  // Frozen: moves the watch to that scheduler's exit_kind, or for 0 back to the pointer.
  void Follow(uint64_t root);
  uint64_t LoadRoot() const;

  const ExitKindLayout layout_;
  DebugDevice* const device_;
  const FrozenMemory* const memory_;
  // Written by Arm before the first hit can come, and only read afterwards.
  std::atomic<WatchId> watch_{kNoWatch};
  std::atomic<uint64_t> followed_{0};  // the scheduler whose exit_kind is watched; 0: none
  std::atomic<bool> error_seen_{false};
  std::atomic<int> schedulers_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SCX_EXIT_KIND_TRIGGER_H_
