// Where an instruction that is about to be executed will write, from its bytes and the registers.
//
// For plugins that see a store before it happens. Explicit and implied operands, string stores (one
// iteration of a repeated one), push and call, bit instructions with a register as bit number (they
// reach beyond their operand). Not known are scattering stores and xsave, whose length depends on more
// than registers.
//
// Threads: pure functions, which do not allocate: usable while others are frozen. Errors: an optional.
#ifndef WATCHSNAP_DEBUG_DECODE_STORE_OPERANDS_H_
#define WATCHSNAP_DEBUG_DECODE_STORE_OPERANDS_H_

#include <array>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

struct StoreOperands {
  struct Operand {
    uint64_t address = 0;  // linear
    uint32_t bytes = 0;
  };
  uint8_t length = 0;      // of the instruction
  bool rep = false;        // a string instruction with a repeat prefix
  bool transfers = false;  // goes elsewhere after the store: a call
  int count = 0;
  std::array<Operand, 4> operands;

  absl::Span<const Operand> all() const { return absl::MakeConstSpan(operands.data(), count); }
};

// `bytes` begin at registers.pc(). Nullopt for what is no instruction, and where a place that is
// written cannot be told. An instruction that writes no memory has no operands.
std::optional<StoreOperands> DecodeStoreOperands(absl::Span<const uint8_t> bytes,
                                                 const VcpuRegisters& registers);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_DECODE_STORE_OPERANDS_H_
