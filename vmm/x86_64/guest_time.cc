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

int64_t Scale(int64_t value, uint64_t by, uint64_t over) {
  return static_cast<int64_t>(static_cast<__int128>(value) * static_cast<int64_t>(by) /
                              static_cast<int64_t>(over));
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
  kvm_clock_data wanted = {};
  wanted.clock = anchor_clock_ns_ + static_cast<uint64_t>(Scale(
                     static_cast<int64_t>(guest_counter - anchor_counter_), 1'000'000, khz_));
  if (ioctl(vm_fd_, KVM_SET_CLOCK, &wanted) != 0 || !ReadClock(vm_fd_, &clock_ns, &counter)) {
    why_not_.store("KVM_SET_CLOCK failed: the guest's clocks ran on during the pause");
    return 0;
  }
  const uint64_t guest_now =
      anchor_counter_ +
      static_cast<uint64_t>(Scale(static_cast<int64_t>(clock_ns - anchor_clock_ns_),
                                  static_cast<int64_t>(khz_), 1'000'000));
  const uint64_t offset = guest_now - counter;
  // The guest's counter never goes back: at worst nothing is hidden.
  const int64_t hidden = static_cast<int64_t>(offset_ - offset);
  if (hidden > 0 && guest_now >= guest_counter) {
    offset_ = offset;
    const uint64_t ns = static_cast<uint64_t>(Scale(hidden, 1'000'000, khz_));
    hidden_ns_.fetch_add(ns, std::memory_order_relaxed);
    resumed_at_ = counter;
    generation_.fetch_add(1, std::memory_order_release);
    return ns;
  }
  return 0;
}

void GuestTime::NoteLongPause(uint64_t last_exit) {
  const int64_t ticks = static_cast<int64_t>(HostCounter() - last_exit);
  if (khz_ == 0 || Scale(ticks, 1'000'000, khz_) < static_cast<int64_t>(kLongPauseNs)) return;
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
  vcpu.offset = offset_;
  // A timer that was set to a counter value was translated to host time when it was set.
  OneMsr deadline;
  deadline.entry.index = kMsrTscDeadline;
  if (ioctl(vcpu.fd, kKvmGetMsrs, &deadline) == 1 && deadline.entry.data != 0 &&
      ioctl(vcpu.fd, kKvmSetMsrs, &deadline) != 1) {
    PLOG(ERROR) << "IA32_TSC_DEADLINE on vCPU " << index;
  }
}

}  // namespace watchsnap
