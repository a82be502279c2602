// What one instruction writes to memory, from its bytes alone.
//
// "Stores" are all instructions with a memory operand that is written, visible or implied: mov,
// read-modify-writes, xchg, cmpxchg (also one that fails: it writes the old value back), push,
// call, string instructions, SSE and AVX stores, xsave, …  The instruction set is that of the
// build's architecture. Bytes are those of a running guest, and may be anything.
//
// Threads: pure functions. Errors: an optional; bytes that are no instruction store nothing.
#ifndef WATCHSNAP_DEBUG_DECODE_STORE_SHAPE_H_
#define WATCHSNAP_DEBUG_DECODE_STORE_SHAPE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"

namespace watchsnap {

// No instruction is longer (Intel SDM volume 2, 2.3.11).
inline constexpr size_t kMaxInstructionLength = 15;

struct StoreShape {
  uint8_t length = 0;        // of the instruction
  bool rep = false;          // a string instruction with a repeat prefix
  bool transfers = false;    // goes elsewhere after the store: a call
  uint32_t store_bytes = 0;  // written at once; of a REP, by one iteration
  // Where it writes, if the instruction alone says so (RIP-relative or absolute, no segment base).
  std::optional<uint64_t> address;
};

// The length of the instruction that begins at `bytes`; 0 where none does.
size_t InstructionLength(absl::Span<const uint8_t> bytes);

// Nullopt for what is not an instruction, and for one that writes no memory. `kva` is the address
// of the first byte.
std::optional<StoreShape> DecodeStoreShape(absl::Span<const uint8_t> bytes, uint64_t kva);

// Whether a storing instruction begins at `bytes`.
bool IsStoringInstructionAt(absl::Span<const uint8_t> bytes);

// The instruction in the notation of objdump and the kernel's oopses (AT&T on x86_64), with
// addresses resolved: "add %rax, 0xffffffff83007a00"; "(bad)" for what is none.
std::string DescribeInstruction(absl::Span<const uint8_t> bytes, uint64_t kva);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DECODE_STORE_SHAPE_H_
