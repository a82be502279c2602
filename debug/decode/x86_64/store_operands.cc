#include "debug/decode/store_operands.h"

#include "Zydis/Zydis.h"

namespace watchsnap {
namespace {

const ZydisDecoder& Decoder() {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return d;
  }();
  return decoder;
}

// The value of a 64-bit general register, or of the low 32 bits of one by its 32-bit name.
std::optional<uint64_t> RegisterValue(const kvm_regs& regs, ZydisRegister wanted) {
  switch (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, wanted)) {
    case ZYDIS_REGISTER_RAX: return regs.rax;
    case ZYDIS_REGISTER_RCX: return regs.rcx;
    case ZYDIS_REGISTER_RDX: return regs.rdx;
    case ZYDIS_REGISTER_RBX: return regs.rbx;
    case ZYDIS_REGISTER_RSP: return regs.rsp;
    case ZYDIS_REGISTER_RBP: return regs.rbp;
    case ZYDIS_REGISTER_RSI: return regs.rsi;
    case ZYDIS_REGISTER_RDI: return regs.rdi;
    case ZYDIS_REGISTER_R8: return regs.r8;
    case ZYDIS_REGISTER_R9: return regs.r9;
    case ZYDIS_REGISTER_R10: return regs.r10;
    case ZYDIS_REGISTER_R11: return regs.r11;
    case ZYDIS_REGISTER_R12: return regs.r12;
    case ZYDIS_REGISTER_R13: return regs.r13;
    case ZYDIS_REGISTER_R14: return regs.r14;
    case ZYDIS_REGISTER_R15: return regs.r15;
    default: return std::nullopt;
  }
}

int64_t SignExtend(uint64_t value, uint32_t bits) {
  const uint32_t shift = 64 - bits;
  return static_cast<int64_t>(value << shift) >> shift;
}

std::optional<uint64_t> EffectiveAddress(const ZydisDecodedInstruction& instruction,
                                         const ZydisDecodedOperand& operand,
                                         const VcpuRegisters& registers) {
  const auto& mem = operand.mem;
  uint64_t address = static_cast<uint64_t>(mem.disp.value);
  if (mem.base == ZYDIS_REGISTER_RIP || mem.base == ZYDIS_REGISTER_EIP) {
    address += registers.pc() + instruction.length;
  } else if (mem.base != ZYDIS_REGISTER_NONE) {
    const std::optional<uint64_t> base = RegisterValue(registers.regs, mem.base);
    if (!base.has_value()) return std::nullopt;
    address += *base;
  }
  if (mem.index != ZYDIS_REGISTER_NONE) {
    const std::optional<uint64_t> index = RegisterValue(registers.regs, mem.index);
    if (!index.has_value()) return std::nullopt;
    address += *index * mem.scale;
  }
  if (instruction.address_width == 32) address &= 0xffff'ffff;
  if (mem.segment == ZYDIS_REGISTER_FS) address += registers.sregs.fs.base;
  if (mem.segment == ZYDIS_REGISTER_GS) address += registers.sregs.gs.base;
  return address;
}

// An implied store through the stack pointer: it is decremented first.
bool Pushes(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand& operand) {
  return operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
         operand.mem.base == ZYDIS_REGISTER_RSP &&
         (instruction.meta.category == ZYDIS_CATEGORY_PUSH ||
          instruction.meta.category == ZYDIS_CATEGORY_CALL);
}

// How far from its operand a bit instruction with a bit number in a register reaches (SDM vol. 2, BTS).
std::optional<int64_t> BitDistance(const ZydisDecodedInstruction& instruction,
                                   absl::Span<const ZydisDecodedOperand> operands,
                                   const VcpuRegisters& registers) {
  const ZydisMnemonic mnemonic = instruction.mnemonic;
  if ((mnemonic != ZYDIS_MNEMONIC_BTS && mnemonic != ZYDIS_MNEMONIC_BTR &&
       mnemonic != ZYDIS_MNEMONIC_BTC) ||
      operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) {
    return 0;
  }
  const std::optional<uint64_t> number = RegisterValue(registers.regs, operands[1].reg.value);
  if (!number.has_value()) return std::nullopt;
  const int64_t bits = operands[0].size;
  const int64_t bit = SignExtend(*number, operands[1].size);
  const int64_t unit = bit >= 0 ? bit / bits : -((-bit + bits - 1) / bits);
  return unit * (bits / 8);
}

}  // namespace

std::optional<StoreOperands> DecodeStoreOperands(absl::Span<const uint8_t> bytes,
                                                 const VcpuRegisters& registers) {
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&Decoder(), bytes.data(), bytes.size(), &instruction,
                                           operands.data()))) {
    return std::nullopt;
  }
  constexpr ZydisInstructionAttributes kRepeats =
      ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  StoreOperands found = {.length = instruction.length,
                         .rep = (instruction.attributes & kRepeats) != 0,
                         .transfers = instruction.meta.category == ZYDIS_CATEGORY_CALL,
                         .operands = {}};
  for (int i = 0; i < instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY ||
        (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) {
      continue;
    }
    if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM || operand.size == 0 ||
        instruction.meta.category == ZYDIS_CATEGORY_XSAVE ||
        instruction.meta.category == ZYDIS_CATEGORY_XSAVEOPT ||
        found.count == static_cast<int>(found.operands.size())) {
      return std::nullopt;
    }
    const std::optional<uint64_t> address = EffectiveAddress(instruction, operand, registers);
    const std::optional<int64_t> distance = BitDistance(
        instruction, absl::MakeConstSpan(operands.data(), instruction.operand_count), registers);
    if (!address.has_value() || !distance.has_value()) return std::nullopt;
    StoreOperands::Operand& store = found.operands[found.count++];
    store.bytes = operand.size / 8u;
    store.address = *address + static_cast<uint64_t>(*distance);
    if (Pushes(instruction, operand)) store.address -= store.bytes;
  }
  return found;
}

}  // namespace watchsnap
