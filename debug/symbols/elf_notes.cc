#include "debug/symbols/elf_notes.h"

#include <elf.h>

#include <cstring>

namespace watchsnap {

std::optional<std::string> FindGnuBuildId(absl::Span<const uint8_t> notes) {
  constexpr char kOwner[] = "GNU";  // with its terminator, as n_namesz counts it
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    std::memcpy(&header, notes.data(), sizeof(header));
    notes.remove_prefix(sizeof(header));
    const uint64_t name_room = (uint64_t{header.n_namesz} + 3) & ~uint64_t{3};
    const uint64_t description_room = (uint64_t{header.n_descsz} + 3) & ~uint64_t{3};
    if (name_room > notes.size() || header.n_descsz > notes.size() - name_room) return std::nullopt;
    const uint8_t* const description = notes.data() + name_room;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == sizeof(kOwner) &&
        std::memcmp(notes.data(), kOwner, sizeof(kOwner)) == 0 && header.n_descsz > 0) {
      return std::string(reinterpret_cast<const char*>(description), header.n_descsz);
    }
    // The last record may come without its padding.
    if (name_room + description_room >= notes.size()) return std::nullopt;
    notes.remove_prefix(name_room + description_room);
  }
  return std::nullopt;
}

}  // namespace watchsnap
