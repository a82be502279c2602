#include "vmm/pause_barrier.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "vmm/futex.h"
#include "vmm/monotonic_clock.h"

namespace watchsnap {
namespace {

uint64_t ThisThread() {
  static thread_local const uint64_t id = static_cast<uint64_t>(syscall(SYS_gettid));
  return id;
}

void RelaxCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

constexpr uint32_t EpochPart(uint32_t epoch) { return epoch << 16; }
constexpr uint32_t CountPart(uint32_t word) { return word & 0xffff; }

}  // namespace

FrozenVcpus& FrozenVcpus::operator=(FrozenVcpus&& other) noexcept {
  if (this != &other) {
    Thaw();
    barrier_ = other.barrier_;
    other.barrier_ = nullptr;
  }
  return *this;
}

uint64_t FrozenVcpus::Thaw() {
  if (barrier_ == nullptr) return 0;
  const uint64_t hidden = barrier_->listener_ == nullptr ? 0 : barrier_->listener_->BeforeThaw();
  barrier_->Thaw();
  barrier_ = nullptr;
  return hidden;
}

PauseBarrier::PauseBarrier(std::vector<PauseParticipant*> participants)
    : slots_(participants.size()) {
  CHECK_LT(participants.size(), 0x10000u) << "the pause barrier counts in 16 bits";
  for (size_t i = 0; i < participants.size(); ++i) slots_[i].participant = participants[i];
  a_cpu_each_ = participants.size() <= std::thread::hardware_concurrency();
}

template <typename Done>
void PauseBarrier::Patience::LookFor(Done done) {
  if (done()) return;
  constexpr int64_t kMost = kMostLookingNs;
  const int64_t usual = static_cast<int64_t>(usual_ns_.load(std::memory_order_relaxed));
  const int64_t begin = MonotonicNs();
  int64_t took;
  bool came;
  do {
    RelaxCpu();
    came = done();
    took = MonotonicNs() - begin;
  } while (!came && took < std::min(kMost, 3 * usual));
  // What did not come took longer than was looked: look longer the next time. What takes longer than one may look is
  // not worth it: begin small again.
  constexpr int64_t kLeast = 2'000;
  const int64_t next = came ? usual + (took - usual) / 8 : took < kMost ? usual * 5 / 4 : kLeast;
  usual_ns_.store(static_cast<uint64_t>(std::max(next, kLeast)), std::memory_order_relaxed);
}

absl::StatusOr<FrozenVcpus> PauseBarrier::InitialFreeze(absl::Duration deadline) {
  CHECK_EQ(epoch_.load(), 1u) << "InitialFreeze is called once, before any other freeze";
  return StopOthers(1, /*leader=*/-1, deadline);
}

absl::StatusOr<FrozenVcpus> PauseBarrier::Freeze(absl::Duration deadline) {
  const absl::Time until = absl::Now() + deadline;
  for (;;) {
    uint32_t epoch = epoch_.load();
    if ((epoch & 1) == 0) {
      if (epoch_.compare_exchange_strong(epoch, epoch + 1)) {
        return StopOthers(epoch + 1, /*leader=*/-1, until - absl::Now());
      }
      continue;
    }
    waiting_leaders_.fetch_add(1);
    const bool in_time = FutexWait(epoch_, epoch, until);
    waiting_leaders_.fetch_sub(1);
    if (!in_time) {
      return absl::DeadlineExceededError(absl::StrCat(
          "freeze: another freeze was still under way after ", absl::FormatDuration(deadline)));
    }
  }
}

absl::StatusOr<FrozenVcpus> PauseBarrier::TryLead(int index, absl::Duration deadline) {
  uint32_t epoch = epoch_.load();
  if ((epoch & 1) != 0 || !epoch_.compare_exchange_strong(epoch, epoch + 1)) {
    return absl::UnavailableError("another freeze is under way");
  }
  participant_leads_.store(true, std::memory_order_relaxed);
  Slot& slot = slots_[index];
  // First stop the others, so that they come out while this one saves its own state.
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (static_cast<int>(i) != index && slots_[i].state.load() == kInGuest) {
      slots_[i].participant->Kick();
    }
  }
  slot.participant->SaveState();
  return StopOthers(epoch + 1, index, deadline);
}

absl::StatusOr<FrozenVcpus> PauseBarrier::StopOthers(uint32_t epoch, int leader,
                                                     absl::Duration deadline) {
  freezes_.fetch_add(1, std::memory_order_relaxed);
  // Those that sleep because they are held must come and park. A participant that is held only now
  // looks at the epoch after it saw its hold.
  if (held_.load() != 0) WakeSleepers();
  const uint32_t expected = static_cast<uint32_t>(slots_.size()) - (leader >= 0 ? 1 : 0);
  expected_.store(expected);
  if (leader < 0) {
    participant_leads_.store(false, std::memory_order_relaxed);
    for (Slot& slot : slots_) {
      if (slot.state.load() == kInGuest) slot.participant->Kick();
    }
  }
  // A retired participant parks no more: count it here (it may retire while we look: then it counts
  // itself, and CountParked is idempotent per participant and epoch).
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (static_cast<int>(i) != leader && slots_[i].state.load() == kRetired) {
      CountParked(static_cast<int>(i), epoch);
    }
  }
  const auto parked = [this, epoch](uint32_t word) {
    return (word >> 16) == (epoch & 0xffff) ? CountPart(word) : 0;
  };
  if (parked(parked_.load()) >= expected) return FrozenVcpus(this);
  const absl::Time until = absl::Now() + deadline;
  if (leader >= 0 && a_cpu_each_) {
    for_parking_.LookFor([&] { return parked(parked_.load()) >= expected; });
  }
  for (;;) {
    const uint32_t word = parked_.load();
    const uint32_t count = parked(word);
    if (count >= expected) return FrozenVcpus(this);
    leader_sleeps_.store(true);
    const bool in_time = FutexWait(parked_, word, until);
    leader_sleeps_.store(false);
    if (in_time) continue;
    std::string missing;
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (static_cast<int>(i) == leader || slots_[i].parked_epoch.load() == epoch) continue;
      absl::StrAppend(&missing, missing.empty() ? "" : ", ", i);
    }
    if (missing.empty()) return FrozenVcpus(this);  // the last one parked just now
    Thaw();
    return absl::DeadlineExceededError(absl::StrCat(
        "freeze: vCPU ", missing, " did not park before the deadline (", expected - count, " of ",
        slots_.size(), "); the others were thawed. A vCPU thread is stuck outside the guest, in a "
        "device access or a debug plugin"));
  }
}

bool PauseBarrier::CountParked(int index, uint32_t epoch) {
  uint32_t previous = slots_[index].parked_epoch.load();
  for (;;) {
    if (previous == epoch) return false;
    if (slots_[index].parked_epoch.compare_exchange_weak(previous, epoch)) break;
  }
  uint32_t word = parked_.load();
  uint32_t next;
  do {
    if (epoch_.load() != epoch) return false;  // a straggler of a freeze that is over
    next = (word >> 16) == (epoch & 0xffff) ? word + 1 : EpochPart(epoch) | 1;
  } while (!parked_.compare_exchange_weak(word, next));
  // Only the last one has news for the leader. `expected_` may be of an earlier freeze of the same
  // size or not yet written: the leader looks at the count after writing it, so waking too seldom is
  // impossible only if every count that reaches either value wakes; wake on every count ≥ expected_.
  // A leader that does not say it sleeps looks at the count once more before it does.
  if (CountPart(next) < expected_.load() || !leader_sleeps_.load()) return false;
  FutexWake(parked_, 1);
  return true;
}

bool PauseBarrier::EnterGuest(int index) {
  Slot& slot = slots_[index];
  if (slot.thread.load(std::memory_order_relaxed) == 0) slot.thread.store(ThisThread());
  slot.state.store(kInGuest);  // before the last look: see the protocol in the header
  if ((epoch_.load() & 1) != 0 || slot.has_tasks.load() || slot.held.load()) {
    slot.state.store(kOutside);
    return false;
  }
  return true;
}

void PauseBarrier::LeaveGuest(int index) {
  slots_[index].state.store(kOutside, std::memory_order_release);
}

void PauseBarrier::RunTasks(Slot& slot) {
  while (slot.has_tasks.load()) {
    Task* task = nullptr;
    {
      absl::MutexLock lock(&slot.mutex);
      if (slot.tasks.empty()) {
        slot.has_tasks.store(false);
        return;
      }
      task = slot.tasks.front();
      slot.tasks.pop_front();
    }
    task->result = task->run();
    // The waiter may destroy the task as soon as it sees `done`; waking a stale address is harmless.
    task->done.store(1);
    FutexWake(task->done, 1);
  }
}

void PauseBarrier::Park(int index) {
  Slot& slot = slots_[index];
  if (slot.thread.load(std::memory_order_relaxed) == 0) slot.thread.store(ThisThread());
  for (;;) {
    const uint32_t epoch = epoch_.load();
    if ((epoch & 1) == 0) {
      RunTasks(slot);
      if ((epoch_.load() & 1) == 0) return;
      continue;
    }
    slot.participant->SaveState();
    const bool woke_leader = CountParked(index, epoch);
    slot.participant->AfterParking();
    for (;;) {
      const uint32_t seen = wake_.load();
      if (epoch_.load() != epoch) break;
      if (slot.has_tasks.load()) {
        RunTasks(slot);
        continue;
      }
      if (a_cpu_each_ && !woke_leader && participant_leads_.load(std::memory_order_relaxed)) {
        for_thaw_.LookFor([&] { return wake_.load() != seen; });
        if (wake_.load() != seen) continue;
      }
      SleepUntilWoken(seen);
    }
  }
}

void PauseBarrier::AwaitTurn(int index) {
  Slot& slot = slots_[index];
  const uint32_t seen = wake_.load();  // before the looks below: a change after it ends the sleep
  const bool had_tasks = slot.has_tasks.load();
  Park(index);
  if (had_tasks || !slot.held.load() || slot.has_tasks.load() || (epoch_.load() & 1) != 0) return;
  SleepUntilWoken(seen);
}

void PauseBarrier::Hold(int index) {
  Slot& slot = slots_[index];
  if (slot.held.load()) return;
  held_.fetch_add(1);
  if (slot.held.exchange(true)) held_.fetch_sub(1);  // another was quicker
  if (slot.state.load() == kInGuest) slot.participant->Kick();
}

void PauseBarrier::Release(int index) {
  if (!slots_[index].held.exchange(false)) return;
  held_.fetch_sub(1);
  WakeSleepers();
}

void PauseBarrier::WakeSleepers() {
  wake_.fetch_add(1);
  if (sleepers_.load() != 0) FutexWake(wake_);
}

void PauseBarrier::SleepUntilWoken(uint32_t seen) {
  sleepers_.fetch_add(1);
  FutexWait(wake_, seen);
  sleepers_.fetch_sub(1);
}

void PauseBarrier::Retire(int index) {
  Slot& slot = slots_[index];
  slot.state.store(kRetired);
  const uint32_t epoch = epoch_.load();
  if ((epoch & 1) != 0) CountParked(index, epoch);
  absl::MutexLock lock(&slot.mutex);
  for (Task* task : slot.tasks) {
    task->result = absl::FailedPreconditionError("the vCPU's thread has ended");
    task->done.store(1);
    FutexWake(task->done, 1);
  }
  slot.tasks.clear();
  slot.has_tasks.store(false);
}

absl::Status PauseBarrier::RunOn(int index, std::function<absl::Status()> task) {
  CHECK(index >= 0 && index < size()) << "vCPU " << index << " of " << size();
  Slot& slot = slots_[index];
  if (slot.thread.load() == ThisThread()) return task();
  Task queued;
  queued.run = std::move(task);
  {
    absl::MutexLock lock(&slot.mutex);
    if (slot.state.load() == kRetired) {
      return absl::FailedPreconditionError(
          absl::StrCat("vCPU ", index, " has stopped: nothing can run on its thread any more"));
    }
    slot.tasks.push_back(&queued);
    slot.has_tasks.store(true);
  }
  if (slot.state.load() == kInGuest) slot.participant->Kick();
  WakeSleepers();
  while (queued.done.load() == 0) FutexWait(queued.done, 0);
  return queued.result;
}

void PauseBarrier::Thaw() {
  epoch_.fetch_add(1);
  WakeSleepers();
  if (waiting_leaders_.load() != 0) FutexWake(epoch_);
}

}  // namespace watchsnap
