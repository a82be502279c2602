// Msix: the MSI-X table and pending-bit array of one PCI function, as the IoHandler of a BAR.
//
// The table lies at offset 0 and the pending bits at kPbaOffset of a BAR of kBarSize bytes.
// Threads: all methods from any thread. SetMessage of the interrupts is called under the lock, once
// per change of a message that is about to be used.
// Ownership: owns its MsiInterrupts.
// Guest input: hostile. Accesses other than aligned 4 or 8 bytes mean nothing (undefined by the
// specification): all ones, and no effect.
// Constants: PCI Local Bus 3.0 §6.8.2.
#ifndef WATCHSNAP_DEVICES_PCI_MSIX_H_
#define WATCHSNAP_DEVICES_PCI_MSIX_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

class Msix : public IoHandler {
 public:
  static constexpr uint64_t kBarSize = 0x1000;
  static constexpr uint64_t kPbaOffset = 0x800;
  static constexpr int kMaxVectors = 128;  // 16 bytes each below kPbaOffset

  static absl::StatusOr<std::unique_ptr<Msix>> Create(DeviceHost& host, std::string_view device,
                                                      int vectors);

  std::string_view Name() const override { return name_; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

  int vectors() const { return vector_count_; }
  // The two bits of the capability's message control word.
  void SetControl(bool enabled, bool function_masked);
  bool enabled() const;

  // Sends the vector's message, or remembers it while masked. A vector out of range, or disabled
  // MSI-X, sends nothing.
  void Trigger(int vector);

 private:
  struct Vector {
    uint64_t address = 0;
    uint32_t data = 0;
    bool masked = true;  // the state after reset
    bool pending = false;
    bool routed = false;  // the interrupt carries this address and data
    bool broken = false;  // the host refused them
    std::unique_ptr<MsiInterrupt> interrupt;
  };

  Msix(std::string name, int vectors)
      : name_(std::move(name)), vector_count_(vectors), vectors_(vectors) {}
  uint32_t ReadWord(uint64_t offset) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void WriteWord(uint64_t offset, uint32_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Deliverable(const Vector& vector) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Routes the message ahead of its first use, and sends it if it is pending.
  void Settle(Vector& vector) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string name_;
  const int vector_count_;
  mutable absl::Mutex mutex_;
  std::vector<Vector> vectors_ ABSL_GUARDED_BY(mutex_);
  bool enabled_ ABSL_GUARDED_BY(mutex_) = false;
  bool function_masked_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_PCI_MSIX_H_
