// Which instruction made the store that a watchpoint reported.
//
// A watchpoint of x86_64 traps *after* the store, with the address of the next instruction.
// Instructions cannot be decoded backwards, so the writer is found by decoding forward from the
// start of its function, in the guest's memory (the kernel patches its text at boot), to the
// instruction that ends exactly there. A REP-prefixed string store may trap in the middle, with the
// address of the REP itself.
//
//   WriterTrap trap{.next_pc = pc, .function_start = symbol start + slide,
//                   .watched_address = kva, .watched_length = 8};
//   WriterInstruction writer = FindWriter(trap, read_kva);
//
// The answer says how sure it is. kExact: decoded forward, and it is a store that can be this one.
// kApproximate: the instruction stream could not be followed from the function's start (none known,
// or data between the instructions), and the store is what decoding from many places before agrees
// on, or what names the watched address. kUnknown: only the next address is known; `note` says why.
//
// Work is bounded: functions of up to 1 MB, and a few dozen short decodes otherwise. The caller may
// cache by next_pc for as long as the text does not change.
//
// Addresses are run-time KVAs. Threads: pure functions; the reader runs on the caller's thread.
// Errors: none; a reader that fails makes an answer unknown.
#ifndef WATCHSNAP_DEBUG_DECODE_WRITER_DECODER_H_
#define WATCHSNAP_DEBUG_DECODE_WRITER_DECODER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace watchsnap {

// Fills `out` from guest memory at virtual address `kva`, all of it or an error.
using TextReader = absl::FunctionRef<absl::Status(uint64_t kva, absl::Span<uint8_t> out)>;

inline constexpr uint64_t kMaxFunctionLength = uint64_t{1} << 20;

struct WriterTrap {
  uint64_t next_pc = 0;  // as the trap reported it
  // Of the function that holds next_pc - 1 (the store may be its function's last instruction); if
  // none does, of the one that holds next_pc; else empty.
  std::optional<uint64_t> function_start;
  uint64_t watched_address = 0;
  uint64_t watched_length = 0;
};

enum class WriterConfidence { kExact, kApproximate, kUnknown };

struct WriterInstruction {
  WriterConfidence confidence = WriterConfidence::kUnknown;
  uint64_t next_address = 0;  // what the CPU reported, always there
  uint64_t address = 0;       // of the store; 0 if unknown
  uint8_t length = 0;         // of the storing instruction; 0 if unknown
  bool is_store = false;      // false only if unknown
  bool rep = false;
  std::string text;           // the instruction; empty if unknown
  std::string note;           // why it is approximate or unknown; empty if exact
};

WriterInstruction FindWriter(const WriterTrap& trap, TextReader reader);

// For reports and logs: "exact", "approximate", "unknown".
std::string_view WriterConfidenceName(WriterConfidence confidence);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DECODE_WRITER_DECODER_H_
