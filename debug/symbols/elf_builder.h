// Builds small ELF files for tests: sections with addresses, symbols, notes, segments.
//
//   ElfBuilder builder;
//   const uint16_t data = builder.AddSection(".data", 0xffffffff83000000, SHF_ALLOC | SHF_WRITE);
//   builder.AddSymbol("jiffies_64", data, 0xffffffff83000a00, 8);
//   std::vector<uint8_t> vmlinux = builder.Build();
//
// Names that are the tail of another are merged into it, as linkers do. Testonly.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_ELF_BUILDER_H_
#define WATCHSNAP_DEBUG_SYMBOLS_ELF_BUILDER_H_

#include <elf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace watchsnap {

class ElfBuilder {
 public:
  // Default contents are `size` zero bytes. Returns the section's index.
  uint16_t AddSection(std::string name, uint64_t address, uint64_t flags, uint64_t size = 4096,
                      uint32_t type = SHT_PROGBITS);
  uint16_t AddSection(std::string name, uint64_t address, uint64_t flags,
                      std::vector<uint8_t> contents, uint32_t type = SHT_PROGBITS);

  ElfBuilder& AddSymbol(std::string name, uint16_t section, uint64_t value, uint64_t size,
                        uint8_t type = STT_OBJECT, uint8_t binding = STB_GLOBAL);

  // A .notes section at `address` with this GNU build ID, and __start_notes and __stop_notes.
  ElfBuilder& AddBuildId(std::string_view id, uint64_t address);

  // A PT_LOAD that holds section `section` whole, with `extra` bytes more in memory.
  ElfBuilder& AddSegment(uint16_t section, uint64_t extra = 0);

  ElfBuilder& set_type(uint16_t type) { type_ = type; return *this; }
  // As `strip` leaves a file: no .symtab, no .strtab.
  ElfBuilder& Strip() { stripped_ = true; return *this; }

  std::vector<uint8_t> Build() const;

  // Notes as they stand in memory: another owner's first, then the GNU build ID.
  static std::vector<uint8_t> Notes(std::string_view build_id);

 private:
  struct Section {
    std::string name;
    Elf64_Shdr header;
    std::vector<uint8_t> contents;
  };
  struct Symbol {
    std::string name;
    Elf64_Sym symbol;
  };
  struct Segment {
    uint16_t section;
    uint64_t extra;
  };

  uint16_t type_ = ET_EXEC;
  bool stripped_ = false;
  std::vector<Section> sections_;
  std::vector<Symbol> symbols_;
  std::vector<Segment> segments_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_ELF_BUILDER_H_
