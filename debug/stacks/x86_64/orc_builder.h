// Kernels with a hand-made unwind table, for tests. Testonly.
//
//   OrcBuilder orc;
//   orc.Function("caller", 0x100).Entry(0x100, {.sp_offset = 16, .sp = 3, .type = 2});
//   std::shared_ptr<const KernelSymbols> kernel = orc.Kernel();
//
// Offsets are from kText. Entries must be added in the order of their offsets.
#ifndef WATCHSNAP_DEBUG_STACKS_X86_64_ORC_BUILDER_H_
#define WATCHSNAP_DEBUG_STACKS_X86_64_ORC_BUILDER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "debug/symbols/elf_builder.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap::x86_64 {

// As they stand in the file: register numbers are the kernel's (7.3's unless the header is
// another).
struct RawOrc {
  int16_t sp_offset = 0;
  int16_t bp_offset = 0;
  uint8_t sp = 0;
  uint8_t bp = 0;
  uint8_t type = 0;
  bool signal = false;
};

class OrcBuilder {
 public:
  static constexpr uint64_t kText = 0xffffffff81000000;
  static constexpr uint64_t kTextSize = 0x10000;
  static constexpr uint64_t kAddresses = 0xffffffff83000004;
  static constexpr std::string_view kHeader64 = "fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24";
  static constexpr std::string_view kHeader73 = "137c36ad7627c4dd55932176bb0ecdbd5041fc82";

  OrcBuilder& Function(std::string name, uint64_t offset, uint64_t size = 0x100) {
    functions_.push_back({std::move(name), offset, size});
    return *this;
  }
  OrcBuilder& Entry(uint64_t offset, const RawOrc& entry) {
    const auto kva = static_cast<int64_t>(kText + offset);
    const auto here = static_cast<int64_t>(kAddresses + addresses_.size());
    Append(addresses_, static_cast<int32_t>(kva - here));
    Append(entries_, entry.sp_offset);
    Append(entries_, entry.bp_offset);
    entries_.push_back(static_cast<uint8_t>(entry.sp | entry.bp << 4));
    entries_.push_back(static_cast<uint8_t>(entry.type | (entry.signal ? 8 : 0)));
    return *this;
  }
  OrcBuilder& Header(std::string_view hex) {
    header_ = hex;
    return *this;
  }
  // Instructions; elsewhere the text is zeros.
  OrcBuilder& Code(uint64_t offset, const std::vector<uint8_t>& bytes) {
    std::copy(bytes.begin(), bytes.end(), text_.begin() + static_cast<ptrdiff_t>(offset));
    return *this;
  }
  std::vector<uint8_t>& addresses() { return addresses_; }
  std::vector<uint8_t>& entries() { return entries_; }

  std::vector<uint8_t> Build() const {
    ElfBuilder builder;
    const uint16_t text = builder.AddSection(".text", kText, SHF_ALLOC | SHF_EXECINSTR, text_);
    builder.AddSegment(text);
    for (const Symbol& function : functions_) {
      builder.AddSymbol(function.name, text, kText + function.offset, function.size, STT_FUNC);
    }
    if (!header_.empty()) {
      std::string bytes;
      if (!absl::HexStringToBytes(header_, &bytes)) std::abort();
      builder.AddSection(".orc_header", kAddresses - 0x100, SHF_ALLOC,
                         std::vector<uint8_t>(bytes.begin(), bytes.end()));
    }
    builder.AddSection(".orc_unwind_ip", kAddresses, SHF_ALLOC, addresses_);
    builder.AddSection(".orc_unwind", kAddresses + 0x10000, SHF_ALLOC, entries_);
    return builder.Build();
  }
  std::shared_ptr<const KernelSymbols> Kernel() const {
    auto elf = ElfFile::FromBytes("vmlinux", Build());
    return *KernelSymbols::FromElf(*std::move(elf));
  }

 private:
  struct Symbol {
    std::string name;
    uint64_t offset;
    uint64_t size;
  };
  template <typename T>
  static void Append(std::vector<uint8_t>& bytes, T value) {
    bytes.resize(bytes.size() + sizeof value);
    std::memcpy(bytes.data() + bytes.size() - sizeof value, &value, sizeof value);
  }

  std::string header_ = std::string(kHeader73);
  std::vector<uint8_t> text_ = std::vector<uint8_t>(kTextSize);
  std::vector<Symbol> functions_;
  std::vector<uint8_t> addresses_;
  std::vector<uint8_t> entries_;
};

}  // namespace watchsnap::x86_64

#endif  // WATCHSNAP_DEBUG_STACKS_X86_64_ORC_BUILDER_H_
