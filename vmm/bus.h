// Bus: an address space (guest ports, or guest-physical MMIO) on which IoHandlers are mapped.
//
// Threads: all methods from any thread. A handler is looked up under a reader lock and called without
// any, so that a handler may itself move a mapping (a PCI BAR) while the guest runs. Remove does not
// wait for an access under way.
// Ownership: the bus borrows handlers: destroy one only after the vCPUs have stopped.
// Errors: Insert refuses an empty, wrapping or overlapping range and names both handlers.
#ifndef WATCHSNAP_VMM_BUS_H_
#define WATCHSNAP_VMM_BUS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "vmm/io_handler.h"

namespace watchsnap {

class Bus {
 public:
  // `name` appears in error messages: "pio" or "mmio".
  explicit Bus(std::string_view name) : name_(name) {}

  absl::Status Insert(uint64_t base, uint64_t size, IoHandler* handler);
  void Remove(uint64_t base);

  // True if a handler was there. Where none is, a read yields all ones and a write does nothing, as
  // on a PC bus.
  bool Read(uint64_t address, absl::Span<uint8_t> data);
  bool Write(uint64_t address, absl::Span<const uint8_t> data);

 private:
  struct Mapping {
    uint64_t size;
    IoHandler* handler;
  };
  // The mapping that holds all of [address, address + length).
  IoHandler* Find(uint64_t address, uint64_t length, uint64_t* offset) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string name_;
  absl::Mutex mutex_;
  std::map<uint64_t, Mapping> mappings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_BUS_H_
