#include "debug/decode/store_shape.h"

#include <array>

#include "Zydis/Zydis.h"

namespace watchsnap {
namespace {

const ZydisDecoder& LengthDecoder() {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
    return d;
  }();
  return decoder;
}

const ZydisDecoder& FullDecoder() {
  static const ZydisDecoder decoder = [] {
    ZydisDecoder d;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    return d;
  }();
  return decoder;
}

struct Instruction {
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
};

bool Decode(absl::Span<const uint8_t> bytes, Instruction& out) {
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&FullDecoder(), bytes.data(), bytes.size(),
                                             &out.instruction, out.operands.data()));
}

bool WritesMemory(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
         (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 &&
         (operand.mem.type == ZYDIS_MEMOP_TYPE_MEM || operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB);
}

// A bit instruction with the bit's number in a register reaches beyond its memory operand.
bool ReachesBeyondOperand(const Instruction& decoded) {
  const ZydisMnemonic mnemonic = decoded.instruction.mnemonic;
  return (mnemonic == ZYDIS_MNEMONIC_BTS || mnemonic == ZYDIS_MNEMONIC_BTR ||
          mnemonic == ZYDIS_MNEMONIC_BTC) &&
         decoded.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
}

std::optional<uint64_t> StaticAddress(const Instruction& decoded,
                                      const ZydisDecodedOperand& operand, uint64_t kva) {
  const auto& mem = operand.mem;
  if (mem.type != ZYDIS_MEMOP_TYPE_MEM || mem.index != ZYDIS_REGISTER_NONE ||
      (mem.base != ZYDIS_REGISTER_NONE && mem.base != ZYDIS_REGISTER_RIP) ||
      mem.segment == ZYDIS_REGISTER_FS || mem.segment == ZYDIS_REGISTER_GS ||
      ReachesBeyondOperand(decoded)) {
    return std::nullopt;
  }
  ZyanU64 address = 0;
  if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&decoded.instruction, &operand, kva, &address))) {
    return std::nullopt;
  }
  return address;
}

}  // namespace

size_t InstructionLength(absl::Span<const uint8_t> bytes) {
  ZydisDecodedInstruction instruction;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&LengthDecoder(), nullptr, bytes.data(),
                                                  bytes.size(), &instruction))) {
    return 0;
  }
  return instruction.length;
}

std::optional<StoreShape> DecodeStoreShape(absl::Span<const uint8_t> bytes, uint64_t kva) {
  Instruction decoded;
  if (!Decode(bytes, decoded)) return std::nullopt;
  std::optional<StoreShape> shape;
  for (int i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operands[i];
    if (!WritesMemory(operand)) continue;
    if (shape.has_value()) {
      shape->address.reset();  // several places: none of them is *the* one
      continue;
    }
    constexpr ZydisInstructionAttributes kRepeats =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    shape = StoreShape{
        .length = decoded.instruction.length,
        .rep = (decoded.instruction.attributes & kRepeats) != 0,
        .transfers = decoded.instruction.meta.category == ZYDIS_CATEGORY_CALL,
        .store_bytes = operand.size / 8u,
        .address = StaticAddress(decoded, operand, kva),
    };
  }
  return shape;
}

bool IsStoringInstructionAt(absl::Span<const uint8_t> bytes) {
  return DecodeStoreShape(bytes, 0).has_value();
}

std::string DescribeInstruction(absl::Span<const uint8_t> bytes, uint64_t kva) {
  Instruction decoded;
  ZydisFormatter formatter;
  std::array<char, 160> text;
  if (!Decode(bytes, decoded) ||
      !ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT)) ||
      !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(
          &formatter, &decoded.instruction, decoded.operands.data(),
          decoded.instruction.operand_count_visible, text.data(), text.size(), kva, nullptr))) {
    return "(bad)";
  }
  return text.data();
}

}  // namespace watchsnap
