// IoHandler: one named I/O region of a device, reached by guest port I/O or memory-mapped I/O.
//
// Threads: Read and Write are called on vCPU threads, several at a time; an implementation locks for
// itself. A call must be short and must never wait for a vCPU, for a freeze or for the guest: a
// freeze waits until the access is done.
// Guest input: `offset` lies inside the mapped region and `data` is 1, 2, 4 or 8 bytes that do not
// cross its end; the bytes themselves are hostile. A handler never aborts on them: an access that
// means nothing reads as all ones and writes nowhere.
#ifndef WATCHSNAP_VMM_IO_HANDLER_H_
#define WATCHSNAP_VMM_IO_HANDLER_H_

#include <cstdint>
#include <string_view>

#include "absl/types/span.h"

namespace watchsnap {

class IoHandler {
 public:
  virtual ~IoHandler() = default;

  // For traces and error messages, such as "uart" or "virtio-console.common".
  virtual std::string_view Name() const = 0;

  // `offset`: bytes from the start of the region. Little-endian, fills all of `data`.
  virtual void Read(uint64_t offset, absl::Span<uint8_t> data) = 0;
  virtual void Write(uint64_t offset, absl::Span<const uint8_t> data) = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_IO_HANDLER_H_
