// ELF notes: the GNU build ID out of a run of note records, wherever they were read from (the file,
// or the memory of a running guest). The bytes are hostile; nothing outside them is read.
//
// Source of the layout: System V ABI, chapter 5 (Note Section); records are padded to 4 bytes.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_ELF_NOTES_H_
#define WATCHSNAP_DEBUG_SYMBOLS_ELF_NOTES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"

namespace watchsnap {

// The bytes of the first NT_GNU_BUILD_ID note of owner "GNU" that is not empty; nullopt if none.
std::optional<std::string> FindGnuBuildId(absl::Span<const uint8_t> notes);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_ELF_NOTES_H_
