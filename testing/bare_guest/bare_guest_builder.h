// BareGuestBuilder: a small x86-64 assembler for test guests that run without an operating system.
//
//   BareGuestBuilder guest;
//   const uint64_t word = guest.AllocateWord();
//   guest.Mov(Reg::kRbx, word);
//   auto again = guest.Here();
//   guest.LockInc(Reg::kRbx, 4);
//   guest.Jmp(again);
//   config.boot = guest.Build();
//
// Every vCPU begins at the first instruction with its index in RDI and a stack of its own
// (BareBoot). Code and words are addressed through the map at 0xffffffff80000000, so that a watched
// word has an address like a kernel's. There is no IDT: an exception or an interrupt is a triple
// fault. Ready-made guests: bare_guests.h.
//
// Threads: none. Units: bytes. Errors: a use that cannot be encoded aborts (a bug in the test).
// Encodings: Intel SDM vol. 2; bare_guest_builder_test.cc decodes all of them with Zydis.
#ifndef WATCHSNAP_TESTING_BARE_GUEST_BARE_GUEST_BUILDER_H_
#define WATCHSNAP_TESTING_BARE_GUEST_BARE_GUEST_BUILDER_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "vmm/machine.h"

namespace watchsnap {

// clang-format off
// The numbers are the processor's.
enum class Reg : uint8_t {
  kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15,
};

// The condition codes of Jcc, the processor's numbers.
enum class If : uint8_t {
  kBelow = 2, kAboveOrEqual = 3, kEqual = 4, kNotEqual = 5, kBelowOrEqual = 6, kAbove = 7,
};

// Ways to store. See BareGuestBuilder::AdvanceWord.
enum class StoreKind {
  kMov1, kMov2, kMov4, kMov8,
  kInc4, kLockInc4, kLockAdd8, kLockXadd4,
  kXchg4, kXchg8, kLockCmpxchg4, kLockCmpxchg8,
  kRepStosb, kRepStosd, kRepMovsb, kStosq, kMovsd,
  kPush, kMovnti4, kMovups, kLockBts4,
};
inline constexpr StoreKind kAllStoreKinds[] = {
    StoreKind::kMov1, StoreKind::kMov2, StoreKind::kMov4, StoreKind::kMov8,
    StoreKind::kInc4, StoreKind::kLockInc4, StoreKind::kLockAdd8, StoreKind::kLockXadd4,
    StoreKind::kXchg4, StoreKind::kXchg8, StoreKind::kLockCmpxchg4, StoreKind::kLockCmpxchg8,
    StoreKind::kRepStosb, StoreKind::kRepStosd, StoreKind::kRepMovsb, StoreKind::kStosq,
    StoreKind::kMovsd, StoreKind::kPush, StoreKind::kMovnti4, StoreKind::kMovups,
    StoreKind::kLockBts4,
};
// clang-format on
const char* StoreKindName(StoreKind kind);
// How many bytes of the word it writes.
uint32_t StoreKindBytes(StoreKind kind);

class BareGuestBuilder {
 public:
  static constexpr uint64_t kLoadGpa = 0x100000;
  static constexpr uint64_t kDataGpa = 0x110000;  // words; code ends before it
  static constexpr uint64_t kVirtualOffset = 0xffffffff80000000;

  using Label = int;

  // Data: zeroed, 64 bytes apart, so that no two share a cache line. Returns the virtual address.
  uint64_t AllocateWord();
  static constexpr uint64_t GpaOf(uint64_t va) { return va - kVirtualOffset; }

  Label NewLabel();
  void Bind(Label label);
  Label Here();
  // The virtual address of the next instruction.
  uint64_t NextAddress() const { return kVirtualOffset + kLoadGpa + code_.size(); }

  // Registers; 64 bits unless it says otherwise.
  void Mov(Reg to, uint64_t value);
  void MovReg(Reg to, Reg from);
  void AddImm(Reg to, int32_t value);
  void CmpImm(Reg reg, int32_t value);
  void Cmp(Reg a, Reg b);
  void Jmp(Label to);
  void JmpIf(If condition, Label to);

  // Memory at [base]; `bytes` is 1, 2, 4 or 8. Load extends with zeros.
  void Load(Reg to, Reg base, int bytes);
  void Store(Reg base, Reg from, int bytes);
  void StoreImm(Reg base, uint32_t value, int bytes);  // 8 bytes: sign-extended
  void Inc(Reg base, int bytes);
  void LockInc(Reg base, int bytes);
  void Xchg(Reg base, Reg with, int bytes);         // implies LOCK
  void LockCmpxchg(Reg base, Reg from, int bytes);  // compares with RAX

  // With RBX = the word's address and RAX = n: makes the word, which holds n − 1, hold n, by one
  // storing instruction of that kind; returns the virtual address of that instruction and of the
  // next. Changes RAX, RCX, RSI, RDI, R11. kLockBts4 sets bit 0 only: it suits an even n − 1; kMov1
  // and the byte kinds suit n < 256.
  struct StoreSite {
    uint64_t pc;
    uint64_t next_pc;
  };
  StoreSite AdvanceWord(StoreKind kind);

  // The rest.
  void Out8(uint16_t port, uint8_t value);  // changes RAX and RDX
  void In8(uint16_t port);                  // into AL; changes RDX
  void Pause();
  void Hlt();
  void Cli();
  void Sti();
  void Nop();
  // For what has no method here.
  void Raw(std::initializer_list<int> bytes) { Emit(bytes); }
  // Halts for ever, deaf to interrupts.
  void HaltForever();
  // Writes "enter S5" to the sleep control port (vmm/x86_64/layout.h): the run ends with kPowerOff
  // where BareGuestPowerPort (bare_guests.h) or an ACPI device is plugged in. Then halts.
  void PowerOff();

  BareBoot Build();

 private:
  void Emit(std::initializer_list<int> bytes);
  void Emit32(uint32_t value);
  void Emit64(uint64_t value);
  // [prefixes] REX opcode ModRM for `reg`, [base]. `opcode` may have two bytes (0F xx); `bytes`
  // selects 66, REX.W and, for 1, the byte form (opcode as given).
  void EmitMemory(std::initializer_list<int> prefixes, std::initializer_list<int> opcode, int reg,
                  Reg base, int bytes);
  void EmitRegisters(int opcode, int reg, int rm);  // REX.W opcode ModRM, mod = 11
  void EmitTarget(Label to);

  struct Fixup {
    size_t at;
    Label label;
  };
  std::vector<uint8_t> code_;
  std::vector<int64_t> labels_;  // offset in code_, -1: not bound yet
  std::vector<Fixup> fixups_;
  int words_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BARE_GUEST_BARE_GUEST_BUILDER_H_
