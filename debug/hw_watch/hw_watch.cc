#include "debug/hw_watch/hw_watch.h"

#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/hw_watch/x86_64/reflect.h"

namespace watchsnap {
namespace {

// One access of the watch's own size: the guest stores to aligned words whole.
uint64_t LoadWord(const uint8_t* host, uint32_t length) {
  switch (length) {
    case 1: return __atomic_load_n(host, __ATOMIC_ACQUIRE);
    case 2: return __atomic_load_n(reinterpret_cast<const uint16_t*>(host), __ATOMIC_ACQUIRE);
    case 4: return __atomic_load_n(reinterpret_cast<const uint32_t*>(host), __ATOMIC_ACQUIRE);
    default: return __atomic_load_n(reinterpret_cast<const uint64_t*>(host), __ATOMIC_ACQUIRE);
  }
}

absl::Status Validate(const WatchSpec& spec) {
  if (!x86_64::IsWatchLength(spec.length)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "hw_watch cannot watch %d bytes ('%s' at %#x): a hardware watchpoint covers 1, 2, 4 or 8",
        spec.length, spec.tag, spec.address));
  }
  if (spec.address % spec.length != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("hw_watch cannot watch %d bytes at %#x ('%s'): the address must be a "
                        "multiple of the length",
                        spec.length, spec.address, spec.tag));
  }
  return absl::OkStatus();
}

}  // namespace

DebugCapabilities HwWatch::Capabilities() const {
  return {.user_watches = x86_64::kDebugSlots - kFirstUserSlot,
          .has_reserved_slot = true,
          .lengths = "1, 2, 4 or 8 bytes, aligned to the length",
          .cost = "one debug exit a write; nothing where there is no write"};
}

kvm_guest_debug HwWatch::StateFor(const Slots& slots) {
  x86_64::DebugSlots registers;
  for (int i = 0; i < x86_64::kDebugSlots; ++i) {
    if (slots[i].watch != kNoWatch) registers[i] = {slots[i].address, slots[i].length};
  }
  return x86_64::GuestDebugFor(registers);
}

absl::StatusOr<int> HwWatch::ChooseSlot(const WatchSpec& spec) {
  absl::MutexLock lock(&mutex_);
  if (spec.reserved_slot) {
    if (slots_[kReservedSlot].watch == kNoWatch) return kReservedSlot;
    return absl::ResourceExhaustedError(
        absl::StrCat("the reserved watchpoint slot ", kReservedSlot, ", wanted for '", spec.tag,
                     "', serves '", slots_[kReservedSlot].tag, "'; disarm that first"));
  }
  int free_slot = -1;
  std::string taken;
  for (int i = kFirstUserSlot; i < x86_64::kDebugSlots; ++i) {
    const Slot& slot = slots_[i];
    if (slot.watch == kNoWatch) {
      if (free_slot < 0) free_slot = i;
      continue;
    }
    // Neither end can wrap: both are aligned to their length.
    if (spec.address <= slot.address + (slot.length - 1) &&
        slot.address <= spec.address + (spec.length - 1)) {
      return absl::AlreadyExistsError(absl::StrFormat(
          "the watch '%s' (%d bytes at %#x) would overlap the watch '%s' (%d bytes at %#x, slot "
          "%d): "
          "one write could then not be told apart between them; watch one of them, or disarm '%s' "
          "first",
          spec.tag, spec.length, spec.address, slot.tag, slot.length, slot.address, i, slot.tag));
    }
    absl::StrAppend(&taken, taken.empty() ? "" : ", ", "'", slot.tag, "' (slot ", i, ")");
  }
  if (free_slot >= 0) return free_slot;
  return absl::ResourceExhaustedError(absl::StrCat(
      "no watchpoint slot is free for '", spec.tag, "': the ", x86_64::kDebugSlots - kFirstUserSlot,
      " user slots are taken by ", taken, "; disarm one of them first"));
}

absl::StatusOr<WatchId> HwWatch::Arm(const WatchSpec& spec) {
  absl::MutexLock lock(&arm_mutex_);
  absl::Status status = Validate(spec);
  if (!status.ok()) return status;
  if (!known_to_deliver_) {
    status = host_delivers_();
    if (!status.ok()) return status;
    known_to_deliver_ = true;
  }
  const absl::StatusOr<int> slot = ChooseSlot(spec);
  if (!slot.ok()) return slot.status();
  const WatchId watch = next_watch_;
  status = target_.WhileFrozen([&] { return ArmFrozen(*slot, watch, spec); });
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("arming a watch on '", spec.tag,
                                     "' failed, nothing is armed for it: ", status.message()));
  }
  ++next_watch_;
  return watch;
}

absl::StatusOr<const uint8_t*> HwWatch::FindHostAddress(const WatchSpec& spec) {
  // Kernel addresses look the same from every vCPU that has its paging on; not all may have.
  for (int i = 0; i < target_.vcpu_count(); ++i) {
    const uint8_t* host = target_.HostAddress(i, spec.address, spec.length);
    if (host != nullptr) return host;
  }
  return absl::NotFoundError(absl::StrFormat(
      "the guest has no RAM mapped at %#x (%d bytes) now, as its page tables stand, so there is no "
      "old value to compare with; arm it once the guest has mapped that address",
      spec.address, spec.length));
}

absl::Status HwWatch::ArmFrozen(int slot, WatchId watch, const WatchSpec& spec) {
  const absl::StatusOr<const uint8_t*> host = FindHostAddress(spec);
  if (!host.ok()) return host.status();
  kvm_guest_debug wanted, previous;
  {
    absl::MutexLock lock(&mutex_);
    previous = state_;
    Slots slots = slots_;
    slots[slot].watch = watch;
    slots[slot].address = spec.address;
    slots[slot].length = spec.length;
    wanted = StateFor(slots);
  }
  absl::Status status = SetOnAllVcpus(wanted, previous);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  slots_[slot] = {.watch = watch,
                  .address = spec.address,
                  .length = spec.length,
                  .tag = spec.tag,
                  .host = *host,
                  .last_value = LoadWord(*host, spec.length)};
  state_ = wanted;
  return absl::OkStatus();
}

absl::Status HwWatch::SetOnAllVcpus(const kvm_guest_debug& wanted,
                                    const kvm_guest_debug& previous) {
  for (int i = 0; i < target_.vcpu_count(); ++i) {
    absl::Status status = target_.RunOnVcpu(i, [&, i] { return target_.SetGuestDebug(i, wanted); });
    if (status.ok()) continue;
    for (int changed = 0; changed < i; ++changed) {
      absl::Status undone = target_.RunOnVcpu(
          changed, [&, changed] { return target_.SetGuestDebug(changed, previous); });
      if (!undone.ok())
        LOG(ERROR) << "undoing a half-armed watch on vCPU " << changed << ": " << undone;
    }
    return absl::Status(status.code(), absl::StrCat("vCPU ", i, " of ", target_.vcpu_count(), ": ",
                                                    status.message()));
  }
  return absl::OkStatus();
}

absl::Status HwWatch::Disarm(WatchId watch) {
  absl::MutexLock lock(&arm_mutex_);
  return target_.WhileFrozen([&]() -> absl::Status {
    kvm_guest_debug wanted;
    {
      absl::MutexLock lock(&mutex_);
      Slot* slot = nullptr;
      for (Slot& candidate : slots_) {
        if (watch != kNoWatch && candidate.watch == watch) slot = &candidate;
      }
      if (slot == nullptr) {
        return absl::NotFoundError(absl::StrCat("hw_watch has no watch ", watch, " to disarm"));
      }
      // From here on a trap of this slot that is still under way is nobody's.
      *slot = Slot();
      wanted = state_ = StateFor(slots_);
    }
    // A vCPU that is gone has nothing to disarm; of the others all are tried.
    absl::Status result;
    for (int i = 0; i < target_.vcpu_count(); ++i) {
      absl::Status status =
          target_.RunOnVcpu(i, [&, i] { return target_.SetGuestDebug(i, wanted); });
      if (!status.ok() && !absl::IsFailedPrecondition(status)) result.Update(status);
    }
    return result;
  });
}

absl::Status HwWatch::Retarget(WatchId watch, uint64_t address, uint32_t length) {
  // Not arm_mutex_: an Arm that waits for the caller's freeze to end may hold it. Whoever changes the
  // vCPUs holds a freeze, so this one is alone.
  WatchSpec spec = {.address = address, .length = length};
  int slot = -1;
  kvm_guest_debug wanted, previous;
  {
    absl::MutexLock lock(&mutex_);
    for (int i = 0; i < x86_64::kDebugSlots; ++i) {
      if (watch != kNoWatch && slots_[i].watch == watch) slot = i;
    }
    if (slot < 0) {
      return absl::NotFoundError(absl::StrCat("hw_watch has no watch ", watch, " to move"));
    }
    spec.tag = slots_[slot].tag;
    previous = state_;
    Slots slots = slots_;
    slots[slot].address = address;
    slots[slot].length = length;
    wanted = StateFor(slots);
  }
  absl::Status status = Validate(spec);
  if (!status.ok()) return status;
  const absl::StatusOr<const uint8_t*> host = FindHostAddress(spec);
  if (!host.ok()) return host.status();
  status = SetOnAllVcpus(wanted, previous);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  Slot& moved = slots_[slot];
  moved.address = address;
  moved.length = length;
  moved.host = *host;
  moved.last_value = LoadWord(*host, length);
  state_ = wanted;
  return absl::OkStatus();
}

void HwWatch::OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) {
  hits.count = 0;
  kvm_guest_debug state;
  {
    absl::MutexLock lock(&mutex_);
    state = state_;
    const uint64_t named =
        exit.exception == x86_64::kDebugException ? exit.dr6 & x86_64::kDr6SlotBits : 0;
    for (int i = 0; i < x86_64::kDebugSlots; ++i) {
      Slot& slot = slots_[i];
      if (slot.watch == kNoWatch) continue;
      bool hit = (named >> i & 1) != 0;
      // A store to any byte of a watch that lies in this one is a store to this one, even if the
      // host names one slot only.
      for (int j = 0; j < x86_64::kDebugSlots && !hit; ++j) {
        const Slot& other = slots_[j];
        hit = (named >> j & 1) != 0 && other.watch != kNoWatch && other.address >= slot.address &&
              other.address + (other.length - 1) <= slot.address + (slot.length - 1);
      }
      if (!hit) continue;
      const uint64_t value = LoadWord(slot.host, slot.length);
      hits.hits[hits.count++] = {.watch = slot.watch,
                                 .slot = i,
                                 .reserved_slot = i == kReservedSlot,
                                 .vcpu = vcpu,
                                 .address = slot.address,
                                 .length = slot.length,
                                 .next_pc = exit.pc,
                                 .values_known = true,
                                 .old_value = slot.last_value,
                                 .new_value = value};
      slot.last_value = value;
    }
  }
  if (x86_64::IsForGuest(exit)) {
    absl::Status status = x86_64::ReflectToGuest(target_, vcpu, exit, state);
    if (!status.ok()) {
      LOG(ERROR) << "vCPU " << vcpu
                 << ": a debug exception of the guest's own was lost: " << status;
    }
  }
}

}  // namespace watchsnap
