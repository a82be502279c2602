// VirtQueue: the device's side of one split virtqueue.
//
// Purpose: turns rings in guest memory into DescriptorChains of host pointers, and gives chains
// back.
// Threads: none of its own; the caller serialises all calls (the transport's lock). The guest's
// CPUs change the rings at any time.
// Guest input: everything read from memory is hostile. Each value is read once, then checked, then
// used. Chains are bounded in descriptors (kMaxDescriptors), so that loops end; every pointer lies
// in guest memory. Nothing else about them is trusted: two chains may overlap, or lie over a ring.
// Errors: a Status means that the ring is broken for good; the transport then asks for a reset.
// Constants: virtio 1.2 §2.7 (split virtqueues).
#ifndef WATCHSNAP_DEVICES_VIRTIO_VIRTQUEUE_H_
#define WATCHSNAP_DEVICES_VIRTIO_VIRTQUEUE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/guest_memory.h"

namespace watchsnap {

// One buffer of the driver: parts that the device reads, then parts that it writes.
struct DescriptorChain {
  uint16_t head = 0;
  std::vector<absl::Span<const uint8_t>> readable;
  std::vector<absl::Span<uint8_t>> writable;

  uint64_t ReadableBytes() const;
  uint64_t WritableBytes() const;
  // Appends readable bytes to `out` (a `std::string` or `std::vector<uint8_t>`): all of them, which
  // the caller has bounded by ReadableBytes().
  template <typename Container>
  void AppendTo(Container& out) const {
    for (absl::Span<const uint8_t> part : readable) out.insert(out.end(), part.begin(), part.end());
  }
  // Copies as much of `bytes` as the writable parts hold; returns how much.
  uint32_t CopyFrom(absl::Span<const uint8_t> bytes) const;
};

class VirtQueue {
 public:
  // Descriptors of one chain, indirect ones included. Linux makes chains longer than the queue
  // where descriptors are indirect.
  static constexpr int kMaxDescriptors = 1024;
  static constexpr uint16_t kMaxSize = 32768;

  struct Config {
    uint16_t size = 0;      // a power of two
    uint64_t desc_gpa = 0;  // descriptor table
    uint64_t driver_gpa = 0;  // available ring
    uint64_t device_gpa = 0;  // used ring
    bool indirect = false;    // VIRTIO_F_INDIRECT_DESC was negotiated
    bool event_idx = false;   // VIRTIO_F_EVENT_IDX was negotiated
  };

  explicit VirtQueue(const GuestMemory& memory) : memory_(memory) {}

  absl::Status Enable(const Config& config);
  void Disable() { enabled_ = false; }
  bool enabled() const { return enabled_; }

  // Takes the next available chain: true, false if there is none, or the ring is broken. When there
  // is none, the driver will ring the doorbell for the next one.
  absl::StatusOr<bool> Pop(DescriptorChain* chain);
  // Gives a chain back, `written` bytes of its writable parts filled.
  void Push(const DescriptorChain& chain, uint32_t written);
  // Whether the driver wants an interrupt for what was pushed since the last call.
  bool TakeInterruptRequest();

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  static_assert(sizeof(Descriptor) == 16);

  uint16_t AvailableIndex() const;
  absl::Status Walk(uint16_t head, DescriptorChain* chain) const;
  absl::Status AddPart(const Descriptor& descriptor, DescriptorChain* chain) const;

  const GuestMemory& memory_;
  bool enabled_ = false;
  Config config_;
  // Host addresses of the three areas, each wholly in guest memory.
  uint8_t* desc_ = nullptr;
  uint8_t* driver_ = nullptr;
  uint8_t* device_ = nullptr;
  uint16_t next_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t last_interrupt_used_ = 0;  // next_used_ at the last TakeInterruptRequest
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_VIRTQUEUE_H_
