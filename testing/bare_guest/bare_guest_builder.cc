#include "testing/bare_guest/bare_guest_builder.h"

#include "absl/log/check.h"
#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

constexpr uint64_t kWordDistance = 64;
constexpr int kLockPrefix = 0xf0;
constexpr int kRepPrefix = 0xf3;

constexpr int Low3(int reg) { return reg & 7; }
constexpr bool IsHigh(int reg) { return reg >= 8; }
constexpr int Number(Reg reg) { return static_cast<int>(reg); }

}  // namespace

const char* StoreKindName(StoreKind kind) {
  switch (kind) {
    case StoreKind::kMov1: return "mov1";
    case StoreKind::kMov2: return "mov2";
    case StoreKind::kMov4: return "mov4";
    case StoreKind::kMov8: return "mov8";
    case StoreKind::kInc4: return "inc4";
    case StoreKind::kLockInc4: return "lock_inc4";
    case StoreKind::kLockAdd8: return "lock_add8";
    case StoreKind::kLockXadd4: return "lock_xadd4";
    case StoreKind::kXchg4: return "xchg4";
    case StoreKind::kXchg8: return "xchg8";
    case StoreKind::kLockCmpxchg4: return "lock_cmpxchg4";
    case StoreKind::kLockCmpxchg8: return "lock_cmpxchg8";
    case StoreKind::kRepStosb: return "rep_stosb";
    case StoreKind::kRepStosd: return "rep_stosd";
    case StoreKind::kRepMovsb: return "rep_movsb";
    case StoreKind::kStosq: return "stosq";
    case StoreKind::kMovsd: return "movsd";
    case StoreKind::kPush: return "push";
    case StoreKind::kMovnti4: return "movnti4";
    case StoreKind::kMovups: return "movups";
    case StoreKind::kLockBts4: return "lock_bts4";
  }
  return "?";
}

uint32_t StoreKindBytes(StoreKind kind) {
  switch (kind) {
    case StoreKind::kMov1:
    case StoreKind::kRepStosb:
    case StoreKind::kRepMovsb: return 1;
    case StoreKind::kMov2: return 2;
    case StoreKind::kMov8:
    case StoreKind::kLockAdd8:
    case StoreKind::kXchg8:
    case StoreKind::kLockCmpxchg8:
    case StoreKind::kStosq:
    case StoreKind::kPush: return 8;
    case StoreKind::kMovups: return 16;
    default: return 4;
  }
}

uint64_t BareGuestBuilder::AllocateWord() {
  return kVirtualOffset + kDataGpa + kWordDistance * words_++;
}

BareGuestBuilder::Label BareGuestBuilder::NewLabel() {
  labels_.push_back(-1);
  return static_cast<Label>(labels_.size()) - 1;
}

void BareGuestBuilder::Bind(Label label) {
  CHECK_LT(labels_[label], 0) << "a label is bound once";
  labels_[label] = static_cast<int64_t>(code_.size());
}

BareGuestBuilder::Label BareGuestBuilder::Here() {
  const Label label = NewLabel();
  Bind(label);
  return label;
}

void BareGuestBuilder::Emit(std::initializer_list<int> bytes) {
  for (int byte : bytes) code_.push_back(static_cast<uint8_t>(byte));
}

void BareGuestBuilder::Emit32(uint32_t value) {
  for (int i = 0; i < 4; ++i) code_.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void BareGuestBuilder::Emit64(uint64_t value) {
  Emit32(static_cast<uint32_t>(value));
  Emit32(static_cast<uint32_t>(value >> 32));
}

void BareGuestBuilder::EmitMemory(std::initializer_list<int> prefixes,
                                  std::initializer_list<int> opcode, int reg, Reg base, int bytes) {
  CHECK(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) << bytes;
  const int rm = Number(base);
  if (bytes == 2) Emit({0x66});
  Emit(prefixes);
  int rex = 0;
  if (bytes == 8) rex |= 0x48;
  if (IsHigh(reg)) rex |= 0x44;
  if (IsHigh(rm)) rex |= 0x41;
  if (bytes == 1 && reg >= 4) rex |= 0x40;  // SPL, BPL, SIL, DIL rather than AH, CH, DH, BH
  if (rex != 0) Emit({rex});
  Emit(opcode);
  // Always with an 8-bit displacement of 0: RBP and R13 have no form without one.
  Emit({0x40 | Low3(reg) << 3 | Low3(rm)});
  if (Low3(rm) == Number(Reg::kRsp)) Emit({0x24});
  Emit({0});
}

void BareGuestBuilder::EmitRegisters(int opcode, int reg, int rm) {
  Emit({0x48 | (IsHigh(reg) ? 4 : 0) | (IsHigh(rm) ? 1 : 0), opcode,
        0xc0 | Low3(reg) << 3 | Low3(rm)});
}

void BareGuestBuilder::EmitTarget(Label to) {
  fixups_.push_back({code_.size(), to});
  Emit32(0);
}

void BareGuestBuilder::Mov(Reg to, uint64_t value) {
  Emit({0x48 | (IsHigh(Number(to)) ? 1 : 0), 0xb8 + Low3(Number(to))});
  Emit64(value);
}

void BareGuestBuilder::MovReg(Reg to, Reg from) { EmitRegisters(0x89, Number(from), Number(to)); }

void BareGuestBuilder::AddImm(Reg to, int32_t value) {
  EmitRegisters(0x81, 0, Number(to));
  Emit32(static_cast<uint32_t>(value));
}

void BareGuestBuilder::CmpImm(Reg reg, int32_t value) {
  EmitRegisters(0x81, 7, Number(reg));
  Emit32(static_cast<uint32_t>(value));
}

void BareGuestBuilder::Cmp(Reg a, Reg b) { EmitRegisters(0x39, Number(b), Number(a)); }

void BareGuestBuilder::Jmp(Label to) {
  Emit({0xe9});
  EmitTarget(to);
}

void BareGuestBuilder::JmpIf(If condition, Label to) {
  Emit({0x0f, 0x80 + static_cast<int>(condition)});
  EmitTarget(to);
}

void BareGuestBuilder::Load(Reg to, Reg base, int bytes) {
  if (bytes == 1) return EmitMemory({}, {0x0f, 0xb6}, Number(to), base, 4);
  if (bytes == 2) return EmitMemory({}, {0x0f, 0xb7}, Number(to), base, 4);
  EmitMemory({}, {0x8b}, Number(to), base, bytes);
}

void BareGuestBuilder::Store(Reg base, Reg from, int bytes) {
  EmitMemory({}, {bytes == 1 ? 0x88 : 0x89}, Number(from), base, bytes);
}

void BareGuestBuilder::StoreImm(Reg base, uint32_t value, int bytes) {
  EmitMemory({}, {bytes == 1 ? 0xc6 : 0xc7}, 0, base, bytes);
  if (bytes == 1) return Emit({static_cast<int>(value & 0xff)});
  if (bytes == 2)
    return Emit({static_cast<int>(value & 0xff), static_cast<int>(value >> 8 & 0xff)});
  Emit32(value);
}

void BareGuestBuilder::Inc(Reg base, int bytes) {
  EmitMemory({}, {bytes == 1 ? 0xfe : 0xff}, 0, base, bytes);
}

void BareGuestBuilder::LockInc(Reg base, int bytes) {
  EmitMemory({kLockPrefix}, {bytes == 1 ? 0xfe : 0xff}, 0, base, bytes);
}

void BareGuestBuilder::Xchg(Reg base, Reg with, int bytes) {
  EmitMemory({}, {bytes == 1 ? 0x86 : 0x87}, Number(with), base, bytes);
}

void BareGuestBuilder::LockCmpxchg(Reg base, Reg from, int bytes) {
  EmitMemory({kLockPrefix}, {0x0f, bytes == 1 ? 0xb0 : 0xb1}, Number(from), base, bytes);
}

BareGuestBuilder::StoreSite BareGuestBuilder::AdvanceWord(StoreKind kind) {
  const int bytes = static_cast<int>(StoreKindBytes(kind));
  uint64_t pc = NextAddress();
  // What several kinds need first.
  auto one_in = [this](Reg reg) { Mov(reg, 1); };
  auto to_word = [this] { MovReg(Reg::kRdi, Reg::kRbx); };
  switch (kind) {
    case StoreKind::kMov1:
    case StoreKind::kMov2:
    case StoreKind::kMov4:
    case StoreKind::kMov8: Store(Reg::kRbx, Reg::kRax, bytes); break;
    case StoreKind::kInc4: Inc(Reg::kRbx, 4); break;
    case StoreKind::kLockInc4: LockInc(Reg::kRbx, 4); break;
    case StoreKind::kLockAdd8:
      EmitMemory({kLockPrefix}, {0x83}, 0, Reg::kRbx, 8);  // lock add qword [rbx], 1
      Emit({1});
      break;
    case StoreKind::kLockXadd4:
      one_in(Reg::kRcx);
      pc = NextAddress();
      EmitMemory({kLockPrefix}, {0x0f, 0xc1}, Number(Reg::kRcx), Reg::kRbx, 4);
      break;
    case StoreKind::kXchg4:
    case StoreKind::kXchg8: Xchg(Reg::kRbx, Reg::kRax, bytes); break;
    case StoreKind::kLockCmpxchg4:
    case StoreKind::kLockCmpxchg8:
      MovReg(Reg::kRcx, Reg::kRax);
      AddImm(Reg::kRax, -1);
      pc = NextAddress();
      LockCmpxchg(Reg::kRbx, Reg::kRcx, bytes);
      break;
    case StoreKind::kRepStosb:
    case StoreKind::kRepStosd:
      to_word();
      one_in(Reg::kRcx);
      pc = NextAddress();
      Emit({kRepPrefix, kind == StoreKind::kRepStosb ? 0xaa : 0xab});
      break;
    case StoreKind::kStosq:
      to_word();
      pc = NextAddress();
      Emit({0x48, 0xab});
      break;
    case StoreKind::kRepMovsb:
    case StoreKind::kMovsd:
      // The source is the stack, where RAX is put first.
      Emit({0x50});  // push rax
      MovReg(Reg::kRsi, Reg::kRsp);
      to_word();
      one_in(Reg::kRcx);
      pc = NextAddress();
      if (kind == StoreKind::kRepMovsb) {
        Emit({kRepPrefix, 0xa4});
      } else {
        Emit({0xa5});
      }
      {
        const StoreSite site = {pc, NextAddress()};
        Emit({0x58});  // pop rax
        return site;
      }
    case StoreKind::kPush: {
      MovReg(Reg::kR11, Reg::kRsp);
      MovReg(Reg::kRsp, Reg::kRbx);
      AddImm(Reg::kRsp, 8);
      pc = NextAddress();
      Emit({0x50});  // push rax
      const StoreSite site = {pc, NextAddress()};
      MovReg(Reg::kRsp, Reg::kR11);
      return site;
    }
    case StoreKind::kMovnti4: EmitMemory({}, {0x0f, 0xc3}, Number(Reg::kRax), Reg::kRbx, 4); break;
    case StoreKind::kMovups:
      // By way of the stack: a software KVM emulates no movq to an SSE register.
      Emit({0x6a, 0, 0x50});           // push 0; push rax
      Emit({0x0f, 0x10, 0x04, 0x24});  // movups xmm0, [rsp]
      AddImm(Reg::kRsp, 16);
      pc = NextAddress();
      EmitMemory({}, {0x0f, 0x11}, 0, Reg::kRbx, 4);  // movups [rbx], xmm0
      break;
    case StoreKind::kLockBts4:
      EmitMemory({kLockPrefix}, {0x0f, 0xba}, 5, Reg::kRbx, 4);  // lock bts dword [rbx], 0
      Emit({0});
      break;
  }
  return {pc, NextAddress()};
}

void BareGuestBuilder::Out8(uint16_t port, uint8_t value) {
  Emit({0xba});  // mov edx, imm32
  Emit32(port);
  Emit({0xb0, value, 0xee});  // mov al, imm8; out dx, al
}

void BareGuestBuilder::In8(uint16_t port) {
  Emit({0xba});
  Emit32(port);
  Emit({0xec});  // in al, dx
}

void BareGuestBuilder::Pause() { Emit({kRepPrefix, 0x90}); }
void BareGuestBuilder::Hlt() { Emit({0xf4}); }
void BareGuestBuilder::Cli() { Emit({0xfa}); }
void BareGuestBuilder::Sti() { Emit({0xfb}); }
void BareGuestBuilder::Nop() { Emit({0x90}); }

void BareGuestBuilder::HaltForever() {
  Cli();
  const Label again = Here();
  Hlt();
  Jmp(again);
}

void BareGuestBuilder::PowerOff() {
  constexpr uint8_t kSleepEnable = 1 << 5;
  Out8(layout::kAcpiSleepControl, layout::kAcpiSleepTypeS5 << 2 | kSleepEnable);
  HaltForever();
}

BareBoot BareGuestBuilder::Build() {
  std::vector<uint8_t> image = code_;
  for (const Fixup& fixup : fixups_) {
    CHECK_GE(labels_[fixup.label], 0) << "a jump goes to label " << fixup.label << ", never bound";
    const auto distance =
        static_cast<uint32_t>(labels_[fixup.label] - static_cast<int64_t>(fixup.at + 4));
    for (int i = 0; i < 4; ++i) image[fixup.at + i] = static_cast<uint8_t>(distance >> (8 * i));
  }
  CHECK_LE(image.size(), kDataGpa - kLoadGpa) << "the guest's code is too long";
  return {.image = std::move(image), .load_gpa = kLoadGpa, .entry = kVirtualOffset + kLoadGpa};
}

}  // namespace watchsnap
