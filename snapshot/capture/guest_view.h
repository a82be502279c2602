// GuestView: what the renderer asks of a guest whose program is known: its text, and which function an
// address belongs to. KernelView is the one for Linux; tests have one for bare guests.
//
// Threads: both calls from the renderer's thread, with the guest running.
// Units: addresses are run-time guest-virtual addresses.
#ifndef WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_VIEW_H_
#define WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_VIEW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/lines/source_frame.h"
#include "debug/stacks/stack_copy.h"
#include "debug/symbols/text_index.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

struct RenderedStack {
  std::string json;     // an array, innermost frame first
  std::string end;      // "user space", "where a kernel thread started", …
  bool whole = false;
  std::string why_cut;  // where it is not whole
};

class GuestView {
 public:
  virtual ~GuestView() = default;
  // All of `out`, or an error.
  virtual absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const = 0;
  // The function at a run-time address; `address` in the result is run-time too.
  virtual std::optional<TextSymbol> Symbolize(uint64_t address) const = 0;
  // The source lines at a run-time address, innermost inlined function first. Slow: may read debug
  // information. An error where there are none, and why.
  virtual absl::StatusOr<std::vector<SourceFrame>> Lines(uint64_t /*address*/) const {
    return absl::UnimplementedError("this guest has no source lines");
  }
  // Who called whom, from registers and the bytes of stack copied with them.
  virtual absl::StatusOr<RenderedStack> Stack(const VcpuRegisters& /*registers*/,
                                              const StackCopy& /*copy*/) const {
    return absl::UnimplementedError("this guest's stacks cannot be unwound");
  }
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CAPTURE_GUEST_VIEW_H_
