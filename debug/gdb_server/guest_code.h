// GuestCode: guest-virtual memory for a debugger, and the breakpoint instructions it has put there.
//
// Memory is found through the page tables of the vCPU named, as last saved. Whoever reads sees what the
// guest's memory holds without our breakpoint instructions; what is written under one stays behind it.
// A breakpoint is taken away again at the physical place it was put to, and only if it is still there: a
// guest that patches its own code, or reuses the page, is not written to.
//
// Threads: one caller, with every vCPU out of the guest; HasBreakpoint also on vCPU threads.
// Ownership: borrows the target.
// Errors: NotFound for addresses that are not mapped to RAM.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_GUEST_CODE_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_GUEST_CODE_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"

namespace watchsnap::gdb {

class GuestCode {
 public:
  explicit GuestCode(DebugTarget* target) : target_(*target) {}

  // As much from `address` on as is mapped, at most `length`; NotFound if not even the first byte is.
  absl::StatusOr<std::vector<uint8_t>> Read(int vcpu, uint64_t address, uint64_t length);
  // All or nothing.
  absl::Status Write(int vcpu, uint64_t address, absl::Span<const uint8_t> bytes);

  absl::Status AddBreakpoint(int vcpu, uint64_t address);
  absl::Status RemoveBreakpoint(uint64_t address);
  void RemoveAllBreakpoints();
  bool HasBreakpoint(uint64_t address) const;
  bool HasBreakpoints() const;

 private:
  struct Breakpoint {
    uint8_t* host = nullptr;
    uint8_t original = 0;
  };
  // Calls `visit` with each mapped stretch of [address, address + length), until one is not mapped.
  void ForEachStretch(int vcpu, uint64_t address, uint64_t length,
                      absl::FunctionRef<void(uint8_t* host, uint64_t offset, uint64_t bytes)> visit);
  static void TakeAway(const Breakpoint& breakpoint);

  DebugTarget& target_;
  mutable absl::Mutex mutex_;  // held for look-ups only
  std::map<uint64_t, Breakpoint> breakpoints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_GUEST_CODE_H_
