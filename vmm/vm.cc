#include "vmm/vm.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "vmm/kvm_flexible.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

// The in-kernel IOAPIC has 24 pins; MSI sources are numbered after them.
constexpr uint32_t kIoApicPins = 24;
constexpr uint32_t kMaxMsi = 1024;

absl::Status AssignIrqFd(int vm_fd, int eventfd, uint32_t gsi, uint32_t flags) {
  kvm_irqfd irqfd = {};
  irqfd.fd = static_cast<uint32_t>(eventfd);
  irqfd.gsi = gsi;
  irqfd.flags = flags;
  if (ioctl(vm_fd, KVM_IRQFD, &irqfd) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_IRQFD for interrupt ", gsi));
  }
  return absl::OkStatus();
}

class IrqFdInterrupt : public Interrupt {
 public:
  IrqFdInterrupt(int vm_fd, int eventfd, uint32_t gsi)
      : vm_fd_(vm_fd), eventfd_(eventfd), gsi_(gsi) {}
  ~IrqFdInterrupt() override {
    (void)AssignIrqFd(vm_fd_, eventfd_, gsi_, KVM_IRQFD_FLAG_DEASSIGN);
    close(eventfd_);
  }
  void Trigger() override { eventfd_write(eventfd_, 1); }

 private:
  const int vm_fd_;
  const int eventfd_;
  const uint32_t gsi_;
};

class KvmIoEvent : public IoEvent {
 public:
  KvmIoEvent(int vm_fd, kvm_ioeventfd event) : vm_fd_(vm_fd), event_(event) {}
  ~KvmIoEvent() override {
    event_.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    ioctl(vm_fd_, KVM_IOEVENTFD, &event_);
  }

 private:
  const int vm_fd_;
  kvm_ioeventfd event_;
};

}  // namespace

// An MSI source: an irqfd on a GSI of its own, routed to a message once the guest has set one.
class IrqFdMsi : public MsiInterrupt {
 public:
  IrqFdMsi(Vm* vm, int eventfd, uint32_t gsi) : vm_(vm), eventfd_(eventfd), gsi_(gsi) {}
  ~IrqFdMsi() override {
    if (bound_) (void)AssignIrqFd(vm_->fd(), eventfd_, gsi_, KVM_IRQFD_FLAG_DEASSIGN);
    close(eventfd_);
  }
  void Trigger() override { eventfd_write(eventfd_, 1); }
  absl::Status SetMessage(uint64_t address, uint32_t data) override {
    absl::Status status = vm_->SetMsiRoute(gsi_, address, data);
    if (!status.ok()) return status;
    absl::MutexLock lock(&mutex_);
    if (bound_) return absl::OkStatus();
    status = AssignIrqFd(vm_->fd(), eventfd_, gsi_, 0);
    bound_ = status.ok();
    return status;
  }

 private:
  Vm* const vm_;
  const int eventfd_;
  const uint32_t gsi_;
  absl::Mutex mutex_;
  bool bound_ = false;
};

absl::StatusOr<std::unique_ptr<Vm>> Vm::Create(const std::string& kvm_path) {
  auto vm = std::unique_ptr<Vm>(new Vm);
  vm->kvm_fd_ = open(kvm_path.c_str(), O_RDWR | O_CLOEXEC);
  if (vm->kvm_fd_ < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("opening ", kvm_path, ": KVM is needed. Load the kvm module, or give this "
                            "user access to the device"));
  }
  const int version = ioctl(vm->kvm_fd_, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    return absl::UnimplementedError(
        absl::StrCat(kvm_path, " speaks KVM API ", version, "; version ", KVM_API_VERSION,
                     " is needed"));
  }
  vm->fd_ = ioctl(vm->kvm_fd_, KVM_CREATE_VM, 0);
  if (vm->fd_ < 0) return absl::ErrnoToStatus(errno, "KVM_CREATE_VM");
  vm->vcpu_mmap_size_ = ioctl(vm->kvm_fd_, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (vm->vcpu_mmap_size_ <= 0) return absl::ErrnoToStatus(errno, "KVM_GET_VCPU_MMAP_SIZE");

  // Needed on Intel hosts, ignored elsewhere.
  uint64_t identity_map = layout::kKvmIdentityMap;
  ioctl(vm->fd_, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  if (ioctl(vm->fd_, KVM_SET_TSS_ADDR, layout::kKvmTss) != 0) {
    return absl::ErrnoToStatus(errno, "KVM_SET_TSS_ADDR");
  }
  if (ioctl(vm->fd_, KVM_CREATE_IRQCHIP, 0) != 0) {
    return absl::ErrnoToStatus(errno, "KVM_CREATE_IRQCHIP: in-kernel interrupt controllers are needed");
  }
  absl::MutexLock lock(&vm->mutex_);
  for (uint32_t pin = 0; pin < kIoApicPins; ++pin) {
    if (pin < 16) {
      kvm_irq_routing_entry pic = {};
      pic.gsi = pin;
      pic.type = KVM_IRQ_ROUTING_IRQCHIP;
      pic.u.irqchip.irqchip = pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
      pic.u.irqchip.pin = pin % 8;
      vm->routes_.push_back(pic);
    }
    kvm_irq_routing_entry ioapic = {};
    ioapic.gsi = pin;
    ioapic.type = KVM_IRQ_ROUTING_IRQCHIP;
    ioapic.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
    ioapic.u.irqchip.pin = pin;
    vm->routes_.push_back(ioapic);
  }
  vm->next_msi_gsi_ = kIoApicPins;
  absl::Status status = vm->CommitRoutes();
  if (!status.ok()) return status;
  return vm;
}

Vm::~Vm() {
  if (fd_ >= 0) close(fd_);
  if (kvm_fd_ >= 0) close(kvm_fd_);
}

int Vm::Capability(int capability) const {
  const int value = ioctl(fd_, KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

absl::StatusOr<std::vector<kvm_cpuid_entry2>> Vm::SupportedCpuid() const {
  constexpr size_t kRoom = 256;
  KvmFlexible<kvm_cpuid_entry2> cpuid(std::vector<kvm_cpuid_entry2>(kRoom, kvm_cpuid_entry2{}));
  if (ioctl(kvm_fd_, kKvmGetSupportedCpuid, cpuid.data()) != 0) {
    return absl::ErrnoToStatus(errno, "KVM_GET_SUPPORTED_CPUID");
  }
  std::vector<kvm_cpuid_entry2> entries;
  for (uint32_t i = 0; i < cpuid.count(); ++i) entries.push_back(cpuid.entry(i));
  return entries;
}

absl::Status Vm::SetMemslot(const kvm_userspace_memory_region& memslot) {
  if (ioctl(fd_, KVM_SET_USER_MEMORY_REGION, &memslot) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(
      errno, absl::StrFormat("KVM_SET_USER_MEMORY_REGION %d [%#x, %#x)%s", memslot.slot,
                             memslot.guest_phys_addr, memslot.guest_phys_addr + memslot.memory_size,
                             (memslot.flags & KVM_MEM_READONLY) != 0 ? " read-only" : ""));
}

absl::Status Vm::MapMemory(const GuestMemory& memory) {
  uint32_t slot = 0;
  for (const MemoryRegion& region : memory.regions()) {
    kvm_userspace_memory_region memslot = {};
    memslot.slot = slot++;
    memslot.guest_phys_addr = region.gpa;
    memslot.memory_size = region.size;
    memslot.userspace_addr = reinterpret_cast<uint64_t>(region.host);
    absl::Status status = SetMemslot(memslot);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Vm::CommitRoutes() {
  KvmFlexible<kvm_irq_routing_entry> table(routes_);
  if (ioctl(fd_, kKvmSetGsiRouting, table.data()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("KVM_SET_GSI_ROUTING of ", routes_.size(),
                                                   " entries"));
  }
  return absl::OkStatus();
}

absl::Status Vm::SetMsiRoute(uint32_t gsi, uint64_t address, uint32_t data) {
  absl::MutexLock lock(&mutex_);
  kvm_irq_routing_entry* route = nullptr;
  for (kvm_irq_routing_entry& entry : routes_) {
    if (entry.gsi == gsi) route = &entry;
  }
  if (route == nullptr) route = &routes_.emplace_back();
  *route = {};
  route->gsi = gsi;
  route->type = KVM_IRQ_ROUTING_MSI;
  route->u.msi.address_lo = static_cast<uint32_t>(address);
  route->u.msi.address_hi = static_cast<uint32_t>(address >> 32);
  route->u.msi.data = data;
  return CommitRoutes();
}

absl::StatusOr<std::unique_ptr<Interrupt>> Vm::CreateInterrupt(uint32_t gsi) {
  if (gsi >= kIoApicPins) {
    return absl::InvalidArgumentError(
        absl::StrCat("interrupt ", gsi, ": the IOAPIC has pins 0 to ", kIoApicPins - 1));
  }
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  absl::Status status = AssignIrqFd(fd_, fd, gsi, 0);
  if (!status.ok()) {
    close(fd);
    return status;
  }
  return std::make_unique<IrqFdInterrupt>(fd_, fd, gsi);
}

absl::StatusOr<std::unique_ptr<MsiInterrupt>> Vm::CreateMsiInterrupt() {
  uint32_t gsi;
  {
    absl::MutexLock lock(&mutex_);
    if (next_msi_gsi_ >= kIoApicPins + kMaxMsi) {
      return absl::ResourceExhaustedError(absl::StrCat("all ", kMaxMsi, " MSI sources are taken"));
    }
    gsi = next_msi_gsi_++;
  }
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, "eventfd");
  return std::make_unique<IrqFdMsi>(this, fd, gsi);
}

absl::StatusOr<std::unique_ptr<IoEvent>> Vm::RegisterIoEvent(uint64_t gpa, int eventfd) {
  kvm_ioeventfd event = {};
  event.addr = gpa;
  event.len = 0;
  event.fd = eventfd;
  if (ioctl(fd_, KVM_IOEVENTFD, &event) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrFormat("KVM_IOEVENTFD at %#x", gpa));
  }
  return std::make_unique<KvmIoEvent>(fd_, event);
}

absl::StatusOr<uint64_t> Vm::ClockNs() const {
  kvm_clock_data clock = {};
  if (ioctl(fd_, KVM_GET_CLOCK, &clock) != 0) return absl::ErrnoToStatus(errno, "KVM_GET_CLOCK");
  return clock.clock;
}

}  // namespace watchsnap
