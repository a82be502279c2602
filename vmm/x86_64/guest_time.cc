// GuestTime on x86_64: TSC offset and kvmclock.
// Sources: Documentation/virt/kvm/api.rst (KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_KVMCLOCK_CTRL),
// Documentation/virt/kvm/devices/vcpu.rst §4 (KVM_VCPU_TSC_CTRL); Intel SDM vol. 3 §11.5.4.1 (TSC
// deadline).
#include "vmm/guest_time.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "absl/log/log.h"
#include "vmm/kvm_flexible.h"
#include "vmm/x86_64/host_counter.h"

namespace watchsnap {
namespace {

constexpr uint32_t kMsrTsc = 0x10;           // IA32_TIME_STAMP_COUNTER
constexpr uint32_t kMsrTscDeadline = 0x6e0;  // IA32_TSC_DEADLINE; 0: no timer is set
// How often it is read back when KVM_SET_CLOCK set the clock.
constexpr uint32_t kReadBackEvery = 64;
// A counter of one tick a nanosecond; and what the factors have room for.
constexpr uint64_t kKhzOfANs = 1'000'000;
constexpr uint64_t kLeastKhz = 70'000;
constexpr uint64_t kMostKhz = 15'000'000;
// Lockup detectors look at tens of seconds.
constexpr uint64_t kLongPauseNs = 1'000'000'000;

// kvm_msrs with one entry, in the kernel's layout (see kvm_flexible.h).
struct OneMsr {
  uint32_t count = 1;
  uint32_t pad = 0;
  kvm_msr_entry entry = {};
};
static_assert(sizeof(OneMsr) == kKvmFlexibleHeader + sizeof(kvm_msr_entry));

kvm_device_attr OffsetAttribute(uint64_t* offset) {
  kvm_device_attr attribute = {};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<uint64_t>(offset);
  return attribute;
}

// The clock and the host's counter at one moment.
bool ReadClock(int vm_fd, uint64_t* clock_ns, uint64_t* counter) {
  kvm_clock_data clock = {};
  const uint64_t before = HostCounter();
  if (ioctl(vm_fd, KVM_GET_CLOCK, &clock) != 0) return false;
  *clock_ns = clock.clock;
  *counter = clock.host_tsc;
  if ((clock.flags & KVM_CLOCK_HOST_TSC) == 0) {
    // While a vCPU has yet to take over the others' offset KVM keeps its clock by other means.
    *counter = before + (HostCounter() - before) / 2;
  }
  return true;
}

}  // namespace

void GuestTime::Start(int vm_fd, absl::Span<const int> vcpu_fds) {
  vm_fd_ = vm_fd;
  for (size_t i = 0; i < vcpu_fds.size(); ++i) vcpus_[i].fd = vcpu_fds[i];
  const int khz = ioctl(vcpu_fds[0], KVM_GET_TSC_KHZ, 0);
  khz_ = khz > 0 ? static_cast<uint64_t>(khz) : 0;
  if (khz_ > kLeastKhz && khz_ < kMostKhz) {
    constexpr unsigned __int128 kOne = static_cast<unsigned __int128>(1) << 60;
    ns_a_tick_ = static_cast<uint64_t>(kOne * kKhzOfANs / khz_);
    ticks_a_ns_ = static_cast<uint64_t>(kOne * khz_ / kKhzOfANs);
  } else {
    khz_ = 0;
  }
  kvm_device_attr attribute = OffsetAttribute(&offset_);
  const bool settable = ioctl(vcpu_fds[0], KVM_HAS_DEVICE_ATTR, &attribute) == 0 &&
                        ioctl(vcpu_fds[0], KVM_GET_DEVICE_ATTR, &attribute) == 0;
  if (!settable) {
    OneMsr tsc;
    tsc.entry.index = kMsrTsc;
    const uint64_t before = HostCounter();
    if (ioctl(vcpu_fds[0], kKvmGetMsrs, &tsc) == 1) {
      offset_ = tsc.entry.data - (before + (HostCounter() - before) / 2);
    }
    why_not_.store("this host's KVM cannot set the offset of a guest's time-stamp counter "
                   "(KVM_VCPU_TSC_CTRL, Linux 5.16): the guest's clocks ran on during the pause");
  } else if (khz_ == 0) {
    why_not_.store("this host's KVM does not tell the frequency of the time-stamp counter "
                   "(KVM_GET_TSC_KHZ): the guest's clocks ran on during the pause");
  } else {
    why_not_.store(nullptr);
  }
  for (PerVcpu& vcpu : vcpus_) {
    vcpu.offset = offset_;
    if (!settable || &vcpu == &vcpus_[0]) continue;
    // KVM gives vCPUs made within a second of each other the same offset. Make it so for all.
    uint64_t offset = offset_;
    attribute = OffsetAttribute(&offset);
    if (ioctl(vcpu.fd, KVM_GET_DEVICE_ATTR, &attribute) == 0 && offset == offset_) continue;
    offset = offset_;
    if (ioctl(vcpu.fd, KVM_SET_DEVICE_ATTR, &attribute) != 0) {
      PLOG(ERROR) << "giving all vCPUs the same TSC offset";
    }
  }
}

void GuestTime::LeftGuest(int vcpu) {
  vcpus_[vcpu].exit_counter.store(HostCounter(), std::memory_order_relaxed);
}

uint64_t GuestTime::LastExit() const {
  uint64_t last = 0;
  for (const PerVcpu& vcpu : vcpus_) {
    last = std::max(last, vcpu.exit_counter.load(std::memory_order_relaxed));
  }
  return last;
}

uint64_t GuestTime::CounterAtExit(int vcpu) const {
  if (vcpu >= 0) {
    return vcpus_[vcpu].exit_counter.load(std::memory_order_relaxed) + vcpus_[vcpu].offset;
  }
  return std::max(LastExit(), resumed_at_) + offset_;
}

uint64_t GuestTime::BeforeThaw() {
  const uint64_t last_exit = LastExit();
  if (last_exit == 0) return 0;  // the guest has not begun
  if (why_not_.load(std::memory_order_relaxed) != nullptr) {
    NoteLongPause(last_exit);
    return 0;
  }
  // A vCPU whose thread was not woken yet since the last thaw is no reason to go back further.
  const uint64_t stopped_at = std::max(last_exit, resumed_at_);
  const uint64_t guest_counter = stopped_at + offset_;
  uint64_t clock_ns = 0, counter = 0;
  if (!anchored_) {
    if (!ReadClock(vm_fd_, &clock_ns, &counter)) {
      why_not_.store("KVM_GET_CLOCK failed: the guest's clocks ran on during the pause");
      return 0;
    }
    anchor_clock_ns_ = clock_ns;
    anchor_counter_ = counter + offset_;
    anchored_ = true;
  }
  clock_ns = anchor_clock_ns_ +
             static_cast<uint64_t>(ToNs(static_cast<int64_t>(guest_counter - anchor_counter_)));
  if (!SetClock(clock_ns, &counter)) {
    why_not_.store("KVM_SET_CLOCK failed: the guest's clocks ran on during the pause");
    return 0;
  }
  const uint64_t guest_then =
      anchor_counter_ +
      static_cast<uint64_t>(ToTicks(static_cast<int64_t>(clock_ns - anchor_clock_ns_)));
  const uint64_t offset = guest_then - counter;
  const uint64_t now = HostCounter();
  // The guest's counter never goes back: at worst nothing is hidden.
  const int64_t hidden = static_cast<int64_t>(offset_ - offset);
  if (hidden <= 0 || now + offset < guest_counter) return 0;
  offset_ = offset;
  const uint64_t ns = static_cast<uint64_t>(ToNs(hidden));
  hidden_ns_.fetch_add(ns, std::memory_order_relaxed);
  resumed_at_ = now;
  generation_.fetch_add(1, std::memory_order_release);
  return ns;
}

bool GuestTime::SetClock(uint64_t clock_ns, uint64_t* set_at) {
  kvm_clock_data wanted = {};
  wanted.clock = clock_ns;
  const uint64_t before = HostCounter();
  if (ioctl(vm_fd_, KVM_SET_CLOCK, &wanted) != 0) return false;
  const uint64_t took = HostCounter() - before;
  if (++set_since_read_ < kReadBackEvery && took < 2 * set_took_) {
    *set_at = before + std::min(set_after_, took);
    return true;
  }
  uint64_t read_ns = 0, counter = 0;
  if (!ReadClock(vm_fd_, &read_ns, &counter)) return false;
  *set_at = counter - static_cast<uint64_t>(ToTicks(static_cast<int64_t>(read_ns - clock_ns)));
  // A call that was held up says nothing of others; but the first may have been one.
  if (set_took_ == 0 || took < 2 * set_took_ || set_since_read_ >= kReadBackEvery) {
    set_took_ = took;
    set_after_ = *set_at - before;
    set_since_read_ = 0;
  }
  return true;
}

void GuestTime::NoteLongPause(uint64_t last_exit) {
  const int64_t ticks = static_cast<int64_t>(HostCounter() - last_exit);
  if (khz_ == 0 || ToNs(ticks) < static_cast<int64_t>(kLongPauseNs)) return;
  announce_ = true;
  generation_.fetch_add(1, std::memory_order_release);
}

void GuestTime::Apply(int index) {
  PerVcpu& vcpu = vcpus_[index];
  vcpu.applied = generation_.load(std::memory_order_acquire);
  // EINVAL from a guest that has no kvmclock.
  if (announce_) ioctl(vcpu.fd, KVM_KVMCLOCK_CTRL, 0);
  if (why_not_.load(std::memory_order_relaxed) != nullptr || vcpu.offset == offset_) return;
  kvm_device_attr attribute = OffsetAttribute(&offset_);
  if (ioctl(vcpu.fd, KVM_SET_DEVICE_ATTR, &attribute) != 0) {
    PLOG(ERROR) << "KVM_VCPU_TSC_OFFSET on vCPU " << index;
    why_not_.store("setting the TSC offset of a vCPU failed: the guest's clocks may disagree");
    return;
  }
  vcpu.timer_early += vcpu.offset - offset_;
  vcpu.offset = offset_;
  if (ToNs(static_cast<int64_t>(vcpu.timer_early)) < static_cast<int64_t>(kTimerSlackNs)) {
    return;
  }
  vcpu.timer_early = 0;
  // A timer that was set to a counter value was translated to host time when it was set.
  OneMsr deadline;
  deadline.entry.index = kMsrTscDeadline;
  if (ioctl(vcpu.fd, kKvmGetMsrs, &deadline) == 1 && deadline.entry.data != 0 &&
      ioctl(vcpu.fd, kKvmSetMsrs, &deadline) != 1) {
    PLOG(ERROR) << "IA32_TSC_DEADLINE on vCPU " << index;
  }
}

}  // namespace watchsnap
