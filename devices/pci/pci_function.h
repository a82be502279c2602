// PciFunction: base of a PCI function: its configuration space, BARs, capabilities and MSI-X.
//
// A derived class adds capabilities and BARs in its factory; PciBus places the BARs and enables
// memory decoding, as firmware would. From then on the guest may size and move them.
// Threads: building on one thread; ReadConfig and WriteConfig on vCPU threads. A BAR is mapped and
// unmapped (Bus, OnBarMapped, OnBarUnmapped) under the function's configuration lock; a BAR's
// handler must therefore never take that lock, that is, never access configuration space.
// Ownership: borrows the BARs' handlers, which live as long as the function.
// Guest input: hostile. A BAR moved to where something else is gets unmapped until it moves on.
// Constants: PCI Local Bus 3.0 §6.1–6.2, §6.7–6.8.
#ifndef WATCHSNAP_DEVICES_PCI_PCI_FUNCTION_H_
#define WATCHSNAP_DEVICES_PCI_PCI_FUNCTION_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "devices/pci/msix.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

struct PciIdentity {
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint16_t subsystem_vendor = 0;
  uint16_t subsystem = 0;
  uint32_t class_code = 0;  // class << 16 | subclass << 8 | programming interface
  uint8_t revision = 0;
};

class PciFunction : public Device {
 public:
  static constexpr int kBars = 6;
  static constexpr uint32_t kConfigSize = 256;  // conventional; nothing beyond

  PciFunction(DeviceHost& host, std::string name, const PciIdentity& identity);

  std::string_view Name() const final { return name_; }

  // `offset` < 4096, any width that stays inside the function's 4096 bytes.
  virtual void ReadConfig(uint32_t offset, absl::Span<uint8_t> data);
  virtual void WriteConfig(uint32_t offset, absl::Span<const uint8_t> data);

  // 0 where there is no such BAR.
  uint32_t BarSize(int bar) const { return bars_[bar].size; }
  // Where firmware puts it. Before EnableMemory.
  void PlaceBar(int bar, uint32_t gpa);
  // Maps all BARs; fails where one overlaps what is mapped already.
  absl::Status EnableMemory();

 protected:
  // A 32-bit memory BAR of `size` bytes, a power of two of at least 4 KiB.
  void AddBar(int bar, uint32_t size, IoHandler* handler);
  // `body` follows the two bytes of id and link. `writable` (as long as `body`, or empty for none)
  // has a 1 for each bit that the guest may change. Returns the capability's offset.
  uint32_t AddCapability(uint8_t id, absl::Span<const uint8_t> body,
                         absl::Span<const uint8_t> writable);
  void AddMsix(Msix* msix, int bar);

  DeviceHost& host() { return host_; }
  IoHandler* BarHandler(int bar) const { return bars_[bar].handler; }
  // Copies bytes of configuration space, without side effects.
  void PeekConfig(uint32_t offset, absl::Span<uint8_t> data) const;
  void PokeConfig(uint32_t offset, absl::Span<const uint8_t> data);

  virtual void OnBarMapped(int /*bar*/, uint64_t /*gpa*/) {}
  virtual void OnBarUnmapped(int /*bar*/) {}

 private:
  struct Bar {
    uint32_t size = 0;
    IoHandler* handler = nullptr;
  };

  uint32_t Load32(uint32_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Store(uint32_t offset, uint64_t value, int bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetWritable(uint32_t offset, uint64_t mask, int bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the mappings what command register and BARs say. The first failure, if any.
  absl::Status RemapBars() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  DeviceHost& host_;
  const std::string name_;
  std::array<Bar, kBars> bars_;  // immutable once built
  Msix* msix_ = nullptr;
  uint32_t msix_offset_ = 0;

  mutable absl::Mutex mutex_;
  std::array<uint8_t, kConfigSize> config_ ABSL_GUARDED_BY(mutex_) = {};
  std::array<uint8_t, kConfigSize> writable_ ABSL_GUARDED_BY(mutex_) = {};
  uint32_t next_capability_ ABSL_GUARDED_BY(mutex_) = 0x40;
  uint32_t last_link_ ABSL_GUARDED_BY(mutex_) = 0x34;
  std::array<uint64_t, kBars> mapped_ ABSL_GUARDED_BY(mutex_) = {};  // 0: not mapped
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_PCI_PCI_FUNCTION_H_
