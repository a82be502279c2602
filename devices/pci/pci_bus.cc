#include "devices/pci/pci_bus.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "devices/io_bytes.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr int kMaxDevices = 32;

// Red Hat's generic PCIe host bridge: no driver binds to it, no quirk applies to it.
constexpr PciIdentity kHostBridge = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

constexpr uint32_t kAddressEnable = uint32_t{1} << 31;
constexpr uint32_t kAddressWritable = 0x80ff'fffc;
constexpr uint64_t kResetControlOffset = 1;  // port 0xCF9
constexpr uint64_t kDataOffset = 4;          // port 0xCFC
constexpr uint32_t kEcamFunctionSize = 4096;

}  // namespace

PciFunction* PciSlots::Find(uint32_t bdf) const {
  const uint32_t device = bdf >> 3;
  if ((bdf & 7) != 0 || device >= functions_.size()) return nullptr;
  return functions_[device].get();
}

void PciSlots::Read(uint32_t bdf, uint32_t offset, absl::Span<uint8_t> data) const {
  PciFunction* function = Find(bdf);
  if (function == nullptr) return StoreOnes(data);
  function->ReadConfig(offset, data);
}

void PciSlots::Write(uint32_t bdf, uint32_t offset, absl::Span<const uint8_t> data) const {
  if (PciFunction* function = Find(bdf); function != nullptr) function->WriteConfig(offset, data);
}

void PciConfigPorts::Read(uint64_t offset, absl::Span<uint8_t> data) {
  const uint32_t address = address_.load(std::memory_order_relaxed);
  if (offset == 0 && data.size() == 4) return StoreLittleEndian(address, data);
  if (offset == kResetControlOffset && data.size() == 1) {
    return StoreLittleEndian(reset_.Read(), data);
  }
  if (offset < kDataOffset || !(address & kAddressEnable)) return StoreOnes(data);
  slots_.Read(address >> 8 & 0xffff, (address & 0xfc) + (offset - kDataOffset), data);
}

void PciConfigPorts::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  if (offset == 0 && data.size() == 4) {
    address_.store(LoadLittleEndian(data) & kAddressWritable, std::memory_order_relaxed);
    return;
  }
  if (offset == kResetControlOffset && data.size() == 1) return reset_.Write(data[0]);
  const uint32_t address = address_.load(std::memory_order_relaxed);
  if (offset < kDataOffset || !(address & kAddressEnable)) return;
  slots_.Write(address >> 8 & 0xffff, (address & 0xfc) + (offset - kDataOffset), data);
}

void PciEcam::Read(uint64_t offset, absl::Span<uint8_t> data) {
  const uint32_t within = offset % kEcamFunctionSize;
  if (within + data.size() > kEcamFunctionSize) return StoreOnes(data);
  slots_.Read(offset / kEcamFunctionSize, within, data);
}

void PciEcam::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  const uint32_t within = offset % kEcamFunctionSize;
  if (within + data.size() > kEcamFunctionSize) return;
  slots_.Write(offset / kEcamFunctionSize, within, data);
}

absl::StatusOr<std::unique_ptr<PciBus>> PciBus::Create(
    DeviceHost& host, const std::vector<PciFunctionFactory>& functions) {
  auto bus = std::unique_ptr<PciBus>(new PciBus(host));
  bus->next_bar_ = layout::kPciMmioBase;
  absl::Status status =
      bus->Add(std::make_unique<PciFunction>(host, "pci-host-bridge", kHostBridge));
  if (!status.ok()) return status;
  for (const PciFunctionFactory& factory : functions) {
    absl::StatusOr<std::unique_ptr<PciFunction>> function = factory(host);
    if (!function.ok()) return function.status();
    if (status = bus->Add(*std::move(function)); !status.ok()) return status;
  }
  status = host.pio().Insert(layout::kPciConfigAddressPort, PciConfigPorts::kSize, &bus->ports_);
  status.Update(host.mmio().Insert(layout::kPciEcamBase, layout::kPciEcamSize, &bus->ecam_));
  if (!status.ok()) return status;
  return bus;
}

absl::Status PciBus::Add(std::unique_ptr<PciFunction> function) {
  if (slots_.functions_.size() == kMaxDevices) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "PCI bus: no device number left for %s: all %d are used", function->Name(), kMaxDevices));
  }
  for (int bar = 0; bar < PciFunction::kBars; ++bar) {
    const uint64_t size = function->BarSize(bar);
    if (size == 0) continue;
    const uint64_t gpa = (next_bar_ + size - 1) & ~(size - 1);
    if (gpa + size > layout::kPciMmioBase + layout::kPciMmioSize) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "PCI bus: BAR %d of %s (%#x bytes) does not fit into the PCI window [%#x, %#x)", bar,
          function->Name(), size, layout::kPciMmioBase,
          layout::kPciMmioBase + layout::kPciMmioSize));
    }
    function->PlaceBar(bar, static_cast<uint32_t>(gpa));
    next_bar_ = gpa + size;
  }
  if (absl::Status status = function->EnableMemory(); !status.ok()) return status;
  slots_.functions_.push_back(std::move(function));
  return absl::OkStatus();
}

}  // namespace watchsnap
