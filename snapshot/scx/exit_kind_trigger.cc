#include "snapshot/scx/exit_kind_trigger.h"

#include "absl/log/log.h"
#include "absl/types/span.h"

namespace watchsnap {

WatchSpec ExitKindTrigger::FirstWatch() const {
  WatchSpec spec;
  spec.reserved_slot = true;
  if (layout_.root_address != 0) {
    spec.address = layout_.root_address;
    spec.length = kPointerBytes;
    spec.tag = "scx_root";
  } else {
    spec.address = layout_.kind_address;
    spec.length = kKindBytes;
    spec.tag = "scx_exit_kind";
  }
  return spec;
}

absl::Status ExitKindTrigger::Arm(
    const std::function<absl::Status(std::function<absl::Status()>)>& frozen) {
  const absl::StatusOr<WatchId> watch = device_->Arm(FirstWatch());
  if (!watch.ok()) return watch.status();
  watch_.store(*watch);
  if (layout_.root_address == 0) return absl::OkStatus();
  return frozen([this] {
    memory_->BeginFreeze();
    if (const uint64_t root = LoadRoot(); root != 0 && root != followed_.load()) Follow(root);
    return absl::OkStatus();
  });
}

uint64_t ExitKindTrigger::LoadRoot() const {
  uint64_t root = 0;
  const size_t copied = memory_->CopyPrefix(
      layout_.root_address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&root), sizeof root));
  return copied == sizeof root ? root : 0;
}

HitRule::Action ExitKindTrigger::Judge(const WatchHit& hit) {
  if (WatchesRoot(hit)) return hit.new_value != 0 ? Action::kFreeze : Action::kIgnore;
  // A cmpxchg that fails trips the watch as well, and changes nothing.
  if (hit.values_known && hit.old_value == hit.new_value) return Action::kIgnore;
  if (IsError(hit.new_value)) return Action::kCapture;
  if (IsDone(hit.new_value)) return error_seen_.load() ? Action::kCapture : Action::kFreeze;
  return Action::kIgnore;
}

void ExitKindTrigger::WhileFrozen(const WatchHit& hit) {
  if (WatchesRoot(hit)) {
    // What stands there now, in case two stores shared this freeze.
    if (const uint64_t root = LoadRoot(); root != 0 && root != followed_.load()) Follow(root);
    return;
  }
  if (IsError(hit.new_value)) {
    error_seen_.store(true);
    return;
  }
  error_seen_.store(false);
  if (layout_.root_address == 0) return;
  const uint64_t root = LoadRoot();
  Follow(root == followed_.load() ? 0 : root);
}

void ExitKindTrigger::Follow(uint64_t root) {
  const uint64_t address = root == 0 ? layout_.root_address : root + layout_.kind_offset;
  const absl::Status status =
      device_->Retarget(watch_.load(), address, root == 0 ? kPointerBytes : kKindBytes);
  if (!status.ok()) {
    LOG(ERROR) << "the exit-kind trigger could not follow "
               << (root == 0 ? "scx_root" : "a scheduler that was loaded") << ": " << status;
    return;
  }
  followed_.store(root);
  if (root != 0) schedulers_.fetch_add(1);
}

}  // namespace watchsnap
