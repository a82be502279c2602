// GuestTime: hides pauses of the whole machine from the guest's clocks.
//
// A freeze stops every vCPU, but not the host's time: without help the guest finds, when it runs
// again, that its clocks jumped and its timers are late. At each thaw the guest's time-stamp counter
// and kvmclock are set back together, so that both go on from where the last vCPU left the guest, and
// timers that were set to a value of the counter are set again. To the guest the pause did not happen.
//
// What is hidden of a pause: from the moment the last vCPU came out of the guest until the thaw. What is
// not: the way out of the guest and back into it, and how long a vCPU's thread takes to be woken, which
// are there without a freeze too. Stops of one vCPU alone (an exit, a task run on its thread) are not
// hidden: the others run on.
//
// Arithmetic. Nothing is accumulated: the first pair (kvmclock, counter) and the guest's counter define one
// line, and each thaw puts the clock on that line for the counter value at which the guest stopped, and
// derives the counter's offset from when that took effect. So clock and counter cannot
// drift apart, however many freezes there are, and all vCPUs get the same offset. When in the call KVM set the
// clock is read back now and then (KVM_GET_CLOCK), and whenever the call took unusually long; in between
// it is taken to be as far into the call as the last time. A wrong guess is no larger than the call, a few
// microseconds between the two clocks until the next thaw.
//
// Timers. A TSC-deadline timer was translated to host time when the guest set it, so hiding a pause makes it early by as
// much. It is set again once it may be early by kTimerSlackNs; below that guests put up with it as with any spurious
// interrupt (Linux looks at its clock before it runs a timer, and sets the rest of it again).
//
// Where it works: hosts with KVM_VCPU_TSC_CTRL (Linux 5.16). Elsewhere why_not_hidden() says what is
// missing, guest time runs on during pauses, and a pause of a second or more is announced to the
// guest (KVM_KVMCLOCK_CTRL), so that its own lockup detectors are not set off by it. They are
// otherwise left awake. Timers of the local APIC that count down (not TSC-deadline) are not moved.
//
// Threads: Start before the vCPUs run; LeftGuest, EnterGuest and CounterAtExit(vcpu) on that vCPU's thread;
// BeforeThaw by whoever holds the freeze; hidden_ns and why_not_hidden from any.
// Cost: LeftGuest one counter read; EnterGuest one load if there was no thaw; a thaw one ioctl on the VM, seldom
// two, and per vCPU, on its own thread and so in parallel, one for the offset; one to look for a timer and one to
// set it where that is due.
// Units: counter ticks of the host; nanoseconds.
#ifndef WATCHSNAP_VMM_GUEST_TIME_H_
#define WATCHSNAP_VMM_GUEST_TIME_H_

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "vmm/pause_barrier.h"

namespace watchsnap {

class GuestTime : public PauseListener {
 public:
  // How early a timer may be, of the guest's time.
  static constexpr uint64_t kTimerSlackNs = 500'000;

  explicit GuestTime(int vcpus) : vcpus_(vcpus) {}

  // The descriptors of the machine and of its vCPUs, none of which has run yet.
  void Start(int vm_fd, absl::Span<const int> vcpu_fds);

  // Around each KVM_RUN, on the vCPU's thread.
  void LeftGuest(int vcpu);
  void EnterGuest(int vcpu) {
    if (vcpus_[vcpu].applied != generation_.load(std::memory_order_acquire)) Apply(vcpu);
  }

  // PauseListener: hides the pause that is about to end. Returns how much of it.
  uint64_t BeforeThaw() override;

  // The guest's time-stamp counter when that vCPU last came out of the guest; of -1, when the last
  // of all did. On the vCPU's own thread, or with all frozen.
  uint64_t CounterAtExit(int vcpu) const;
  // Of all pauses so far.
  uint64_t hidden_ns() const { return hidden_ns_.load(std::memory_order_relaxed); }
  // Empty: pauses are hidden. Else what is missing, for a report.
  std::string_view why_not_hidden() const {
    const char* why = why_not_.load(std::memory_order_acquire);
    return why == nullptr ? std::string_view() : why;
  }

 private:
  struct alignas(64) PerVcpu {
    int fd = -1;
    std::atomic<uint64_t> exit_counter{0};  // the host's; 0: it has not run yet
    uint32_t applied = 0;                   // the generation it runs with
    uint64_t offset = 0;                    // guest counter − host counter, as applied
    uint64_t timer_early = 0;               // ticks hidden since its timer was looked at
  };
  void Apply(int vcpu);
  // Sets the clock to `clock_ns`. `*set_at`: the host's counter when it had that value. False: not possible.
  bool SetClock(uint64_t clock_ns, uint64_t* set_at);
  uint64_t LastExit() const;
  void NoteLongPause(uint64_t last_exit);

  std::vector<PerVcpu> vcpus_;
  int vm_fd_ = -1;
  uint64_t khz_ = 0;
  // Ticks to nanoseconds and back, as factors of 2^-60: a division at each thaw would cost as much as a system call
  // does. What they lose of a year is below a nanosecond.
  uint64_t ns_a_tick_ = 0, ticks_a_ns_ = 0;
  static int64_t Scale(int64_t value, uint64_t factor) {
    return static_cast<int64_t>(static_cast<__int128>(value) * factor >> 60);
  }
  int64_t ToNs(int64_t ticks) const { return Scale(ticks, ns_a_tick_); }
  int64_t ToTicks(int64_t ns) const { return Scale(ns, ticks_a_ns_); }
  std::atomic<const char*> why_not_{"the machine has not started"};
  std::atomic<uint64_t> hidden_ns_{0};
  // Counts what vCPUs have to apply before they enter the guest: a new offset, or a note of a pause.
  std::atomic<uint32_t> generation_{0};
  // Written before generation_, under a freeze:
  uint64_t offset_ = 0;
  bool announce_ = false;
  // Of whoever holds the freeze:
  uint64_t resumed_at_ = 0;  // host counter of the last thaw
  bool anchored_ = false;
  uint64_t anchor_clock_ns_ = 0;
  uint64_t anchor_counter_ = 0;  // the guest's
  // Of the last KVM_SET_CLOCK that was read back: how many ticks it took, and how many until the clock was set.
  uint64_t set_took_ = 0;
  uint64_t set_after_ = 0;
  uint32_t set_since_read_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_GUEST_TIME_H_
