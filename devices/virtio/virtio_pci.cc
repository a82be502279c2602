#include "devices/virtio/virtio_pci.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "devices/io_bytes.h"

namespace watchsnap {
namespace {

constexpr int kRegistersBar = 0, kMsixBar = 1;
constexpr uint32_t kCommonOffset = 0x0000, kIsrOffset = 0x1000, kDeviceOffset = 0x2000,
                   kNotifyOffset = 0x3000, kStructureSize = 0x1000;
constexpr uint32_t kNotifyMultiplier = 4;

// §4.1.2: vendor Red Hat, device 0x1040 + type, revision 1 or higher for modern devices.
constexpr uint16_t kVendor = 0x1af4, kFirstDevice = 0x1040, kSubsystem = 0x1100;
constexpr uint8_t kRevision = 1;

constexpr uint8_t kCapabilityVendor = 0x09;
enum CapabilityType : uint8_t {
  kCommon = 1,
  kNotify = 2,
  kIsr = 3,
  kDevice = 4,
  kConfigAccess = 5,
};

// struct virtio_pci_cap from `cap_len` on, and what follows it in two of the types.
struct VirtioCapability {
  uint8_t length;
  uint8_t type;
  uint8_t bar;
  uint8_t id;
  uint8_t padding[2];
  uint32_t offset;
  uint32_t size;
  uint32_t extra;  // notify: the multiplier; configuration access: the data window
} __attribute__((packed));
static_assert(sizeof(VirtioCapability) == 18);
constexpr size_t kPlainCapability = 14;
// From the start of the whole capability.
constexpr uint32_t kCapabilityBar = 4, kCapabilityOffset = 8, kCapabilityData = 16,
                   kCapabilityEnd = 20;

PciIdentity IdentityOf(const VirtioDevice::Traits& traits) {
  return {.vendor = kVendor,
          .device = static_cast<uint16_t>(kFirstDevice + traits.type),
          .subsystem_vendor = kVendor,
          .subsystem = kSubsystem,
          .class_code = traits.pci_class,
          .revision = kRevision};
}

}  // namespace

absl::StatusOr<std::unique_ptr<VirtioPci>> VirtioPci::Create(DeviceHost& host,
                                                             std::unique_ptr<VirtioDevice> device) {
  const VirtioDevice::Traits& traits = device->traits();
  absl::StatusOr<std::unique_ptr<Msix>> msix =
      Msix::Create(host, traits.name, static_cast<int>(traits.queue_sizes.size()) + 1);
  if (!msix.ok()) return msix.status();
  auto pci =
      std::unique_ptr<VirtioPci>(new VirtioPci(host, std::move(device), *std::move(msix)));
  if (absl::Status status = pci->Start(); !status.ok()) return status;
  return pci;
}

VirtioPci::VirtioPci(DeviceHost& host, std::unique_ptr<VirtioDevice> device,
                     std::unique_ptr<Msix> msix)
    : PciFunction(host, device->traits().name, IdentityOf(device->traits())),
      device_(std::move(device)),
      msix_(std::move(msix)),
      core_(host, *device_, *msix_),
      registers_(*this) {
  AddBar(kRegistersBar, kRegistersSize, &registers_);
  AddMsix(msix_.get(), kMsixBar);
  AddCapabilities();
  device_->set_kick([this](uint16_t queue) { core_.Kick(queue); });
}

void VirtioPci::AddCapabilities() {
  auto add = [&](CapabilityType type, uint32_t offset, uint32_t size) {
    const bool has_extra = type == kNotify || type == kConfigAccess;
    const size_t body = has_extra ? sizeof(VirtioCapability) : kPlainCapability;
    VirtioCapability capability = {};
    capability.length = static_cast<uint8_t>(body + 2);
    capability.type = type;
    capability.bar = kRegistersBar;
    capability.offset = offset;
    capability.size = size;
    capability.extra = type == kNotify ? kNotifyMultiplier : 0;
    VirtioCapability writable = {};
    if (type == kConfigAccess) {
      writable.bar = 0xff;
      writable.offset = writable.size = writable.extra = ~uint32_t{0};
    }
    auto bytes = [&](const VirtioCapability& c) {
      return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&c), body);
    };
    return AddCapability(kCapabilityVendor, bytes(capability), bytes(writable));
  };
  add(kCommon, kCommonOffset, VirtioCore::kCommonSize);
  add(kNotify, kNotifyOffset, core_.queue_count() * kNotifyMultiplier);
  add(kIsr, kIsrOffset, 1);
  add(kDevice, kDeviceOffset, kStructureSize);
  config_access_ = add(kConfigAccess, 0, 0);
}

absl::Status VirtioPci::Start() {
  for (int i = 0; i < core_.queue_count(); ++i) {
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(Name(), ": eventfd"));
    doorbells_.push_back(fd);
    absl::Status status = host().loop().WatchEventFd(
        fd, [this, i] { core_.ProcessQueue(static_cast<uint16_t>(i)); });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

VirtioPci::~VirtioPci() {
  io_events_.clear();
  for (int fd : doorbells_) {
    host().loop().Unwatch(fd);
    close(fd);
  }
}

void VirtioPci::OnBarMapped(int bar, uint64_t gpa) {
  if (bar != kRegistersBar) return;
  for (size_t i = 0; i < doorbells_.size(); ++i) {
    absl::StatusOr<std::unique_ptr<IoEvent>> event =
        host().RegisterIoEvent(gpa + kNotifyOffset + i * kNotifyMultiplier, doorbells_[i]);
    if (event.ok()) {
      io_events_.push_back(*std::move(event));
    } else {
      // Slower, not broken: the write then arrives at Registers.
      LOG_FIRST_N(WARNING, 5) << Name() << ": doorbell " << i << " without ioeventfd: "
                              << event.status();
    }
  }
}

void VirtioPci::OnBarUnmapped(int bar) {
  if (bar == kRegistersBar) io_events_.clear();
}

VirtioPci::Registers::Registers(VirtioPci& owner)
    : owner_(owner), name_(absl::StrCat(owner.Name(), ".registers")) {}

void VirtioPci::Registers::Read(uint64_t offset, absl::Span<uint8_t> data) {
  StoreOnes(data);
  const uint64_t within = offset % kStructureSize;
  if (within + data.size() > kStructureSize) return;
  switch (offset - within) {
    case kCommonOffset:
      if (within + data.size() <= VirtioCore::kCommonSize) owner_.core_.Read(within, data);
      break;
    case kIsrOffset:
      if (within == 0) StoreLittleEndian(owner_.core_.TakeIsr(), data);
      break;
    case kDeviceOffset:
      owner_.device_->ReadConfig(within, data);
      break;
    default:  // doorbells are write-only
      break;
  }
}

void VirtioPci::Registers::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  const uint64_t within = offset % kStructureSize;
  if (within + data.size() > kStructureSize) return;
  switch (offset - within) {
    case kCommonOffset:
      if (within + data.size() <= VirtioCore::kCommonSize) owner_.core_.Write(within, data);
      break;
    case kNotifyOffset:
      if (within % kNotifyMultiplier == 0 &&
          within / kNotifyMultiplier < owner_.doorbells_.size()) {
        eventfd_write(owner_.doorbells_[within / kNotifyMultiplier], 1);
      }
      break;
    default:  // ISR and device configuration are read-only
      break;
  }
}

IoHandler* VirtioPci::ConfigWindow(uint32_t* offset, uint32_t* length) const {
  uint8_t capability[kCapabilityData];
  PeekConfig(config_access_, absl::MakeSpan(capability));
  const uint8_t bar = capability[kCapabilityBar];
  std::memcpy(offset, capability + kCapabilityOffset, 4);
  std::memcpy(length, capability + kCapabilityOffset + 4, 4);
  // §4.1.4.9.1: 1, 2 or 4 bytes, aligned, inside a BAR.
  if (*length != 1 && *length != 2 && *length != 4) return nullptr;
  if (bar >= kBars || *offset % *length != 0 || *offset >= BarSize(bar)) return nullptr;
  return BarHandler(bar);
}

void VirtioPci::ReadConfig(uint32_t config_offset, absl::Span<uint8_t> data) {
  const uint32_t window = config_access_ + kCapabilityData;
  if (config_offset < config_access_ + kCapabilityEnd && config_offset + data.size() > window) {
    uint32_t offset = 0, length = 0;
    if (IoHandler* handler = ConfigWindow(&offset, &length); handler != nullptr) {
      uint8_t bytes[4] = {};
      handler->Read(offset, absl::MakeSpan(bytes, length));
      PokeConfig(window, bytes);
    }
  }
  PciFunction::ReadConfig(config_offset, data);
}

void VirtioPci::WriteConfig(uint32_t config_offset, absl::Span<const uint8_t> data) {
  PciFunction::WriteConfig(config_offset, data);
  const uint32_t window = config_access_ + kCapabilityData;
  if (config_offset < config_access_ + kCapabilityEnd && config_offset + data.size() > window) {
    uint32_t offset = 0, length = 0;
    if (IoHandler* handler = ConfigWindow(&offset, &length); handler != nullptr) {
      uint8_t bytes[4];
      PeekConfig(window, absl::MakeSpan(bytes));
      handler->Write(offset, absl::MakeConstSpan(bytes, length));
    }
  }
}

}  // namespace watchsnap
