#include "debug/symbols/symbol_table.h"

#include <bitset>

namespace watchsnap {
namespace {

// The first two bytes of a name, counting its terminator: every name that is not empty has them.
uint32_t Prefix(const uint8_t* name) { return name[0] | static_cast<uint32_t>(name[1]) << 8; }

// A name with a NUL inside would match two neighbouring strings.
bool Searchable(std::string_view name) {
  return !name.empty() && name.find('\0') == std::string_view::npos;
}

}  // namespace

std::string_view SymbolTable::Name(uint32_t st_name) const {
  if (st_name >= strings_.size()) return {};
  const char* start = reinterpret_cast<const char*>(strings_.data()) + st_name;
  const void* end = std::memchr(start, 0, strings_.size() - st_name);
  if (end == nullptr) return {};
  return std::string_view(start, static_cast<const char*>(end) - start);
}

uint32_t SymbolTable::SectionIndex(size_t index) const {
  const Elf64_Sym symbol = At(index);
  if (symbol.st_shndx != SHN_XINDEX) return symbol.st_shndx;
  uint32_t extended = SHN_UNDEF;
  if ((index + 1) * sizeof(extended) <= extended_sections_.size()) {
    std::memcpy(&extended, extended_sections_.data() + index * sizeof(extended), sizeof(extended));
  }
  return extended;
}

std::vector<std::vector<size_t>> SymbolTable::Find(
    absl::Span<const std::string_view> names) const {
  std::vector<std::vector<size_t>> found(names.size());
  std::bitset<65536> wanted;
  for (std::string_view name : names) {
    if (!Searchable(name)) continue;
    const uint8_t prefix[2] = {static_cast<uint8_t>(name[0]),
                               static_cast<uint8_t>(name.size() > 1 ? name[1] : 0)};
    wanted.set(Prefix(prefix));
  }
  const size_t count = size();
  const uint8_t* const strings = strings_.data();
  for (size_t i = 0; i < count; ++i) {
    uint32_t st_name;
    std::memcpy(&st_name, symbols_.data() + i * sizeof(Elf64_Sym) + offsetof(Elf64_Sym, st_name),
                sizeof(st_name));
    if (uint64_t{st_name} + 2 > strings_.size()) continue;
    if (!wanted[Prefix(strings + st_name)]) continue;
    const size_t room = strings_.size() - st_name;
    for (size_t n = 0; n < names.size(); ++n) {
      const std::string_view name = names[n];
      // The terminator first: names that merely begin alike mostly end elsewhere, so that nearly
      // all of them cost one load.
      if (name.size() >= room || strings[st_name + name.size()] != 0) continue;
      if (std::memcmp(strings + st_name, name.data(), name.size()) != 0) continue;
      if (Searchable(name)) found[n].push_back(i);
    }
  }
  return found;
}

}  // namespace watchsnap
