// OrcTable: the unwind table that objtool writes into a vmlinux: for every address of the kernel's
// text, where the caller's stack pointer, return address and frame pointer are.
//
// Two definitions of the table's entries exist among kernels from 6.4 on; a kernel says which one
// it has by the hash of the definition in `.orc_header`. One that is not known here is refused: the
// register numbers differ, and a guess would give stacks that look right and are not.
//
// The file is hostile until shown otherwise: Create checks sizes and order once (half a million
// entries, some milliseconds); Find is a binary search that cannot leave the table. Threads:
// immutable. Ownership: points into the ElfFile. Units: link-time KVAs. Errors: NotFound (the
// kernel has no ORC), Unimplemented (unknown definition), InvalidArgument (damaged). Sources: Linux
// arch/x86/include/asm/orc_types.h, orc_header.h, arch/x86/kernel/unwind_orc.c,
// scripts/orc_hash.sh.
#ifndef WATCHSNAP_DEBUG_STACKS_X86_64_ORC_TABLE_H_
#define WATCHSNAP_DEBUG_STACKS_X86_64_ORC_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/elf_file.h"

namespace watchsnap::x86_64 {

// What an offset counts from. ORC_REG_*, whatever number they have in the kernel.
enum class OrcBase : uint8_t {
  kUndefined,   // as caller's frame pointer: unchanged
  kPreviousSp,  // the caller's stack pointer (only for the frame pointer)
  kSp,
  kBp,
  kAx,
  kDx,
  kDi,
  kR10,
  kR13,
  kSpIndirect,  // the word at SP, then the offset: how the IRQ stack is left
  kBpIndirect,  // the word at BP + offset
  kInvalid,     // a number without a meaning
};

// ORC_TYPE_*.
enum class OrcType : uint8_t {
  kUndefined,    // no way to unwind from here
  kEndOfStack,   // nothing above: entry code, start of a thread
  kCall,         // a return address stands below the caller's stack pointer
  kRegs,         // a struct pt_regs stands at it
  kRegsPartial,  // what the processor pushes for IRETQ stands at it
  kInvalid,
};

struct OrcEntry {
  int16_t sp_offset = 0;
  int16_t bp_offset = 0;
  OrcBase sp_base = OrcBase::kUndefined;
  OrcBase bp_base = OrcBase::kUndefined;
  OrcType type = OrcType::kUndefined;
  // The address found above was interrupted there, or is resumed there: it is looked up as it is,
  // not one byte before as the address behind a call.
  bool signal = false;
};

class OrcTable {
 public:
  static absl::StatusOr<OrcTable> Create(const ElfFile& elf);

  // The entry for `address`; nothing where that is outside the kernel's text.
  std::optional<OrcEntry> Find(uint64_t address) const;
  size_t size() const { return count_; }
  // Where entry `index` begins to hold.
  uint64_t AddressAt(size_t index) const;
  OrcEntry EntryAt(size_t index) const;

 private:
  enum class Numbering : uint8_t { kLinux64, kLinux73 };
  struct Range {
    uint64_t begin;
    uint64_t end;
  };

  OrcTable() = default;
  static absl::StatusOr<Numbering> IdentifyNumbering(const ElfFile& elf);
  OrcBase Base(uint8_t number) const;

  absl::Span<const uint8_t> addresses_;  // s32 each, relative to its own place
  absl::Span<const uint8_t> entries_;
  uint64_t addresses_kva_ = 0;
  size_t count_ = 0;
  Numbering numbering_ = Numbering::kLinux64;
  std::vector<Range> text_;
};

}  // namespace watchsnap::x86_64

#endif  // WATCHSNAP_DEBUG_STACKS_X86_64_ORC_TABLE_H_
