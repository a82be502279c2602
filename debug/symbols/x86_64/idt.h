// The gates of an x86_64 interrupt descriptor table, read out of guest memory.
//
// Source of the layout: Intel SDM volume 3, "64-Bit Mode IDT" (16-byte gates).
// Threads: pure functions. Errors: the reader's, or OutOfRange for a table without any gate.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_X86_64_IDT_H_
#define WATCHSNAP_DEBUG_SYMBOLS_X86_64_IDT_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "debug/symbols/kernel_identity.h"

namespace watchsnap {

// The present gates of the CPU exceptions (vectors 0 to 31) of the table at `base` (a virtual
// address: Linux maps it at a fixed alias) with the IDTR's `limit`.
absl::StatusOr<std::vector<ExceptionGate>> ReadIdtGates(uint64_t base, uint16_t limit,
                                                        KvaReader reader);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_X86_64_IDT_H_
