#include "debug/symbols/x86_64/idt.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

struct Gate {
  uint16_t offset_low;
  uint16_t selector;
  uint8_t stack;
  uint8_t attributes;
  uint16_t offset_middle;
  uint32_t offset_high;
  uint32_t reserved;
};
static_assert(sizeof(Gate) == 16);

constexpr size_t kExceptions = 32;
constexpr uint8_t kPresent = 0x80;

}  // namespace

absl::StatusOr<std::vector<ExceptionGate>> ReadIdtGates(uint64_t base, uint16_t limit,
                                                        KvaReader reader) {
  const size_t count = std::min<size_t>(kExceptions, (size_t{limit} + 1) / sizeof(Gate));
  if (base == 0 || count == 0) {
    return absl::OutOfRangeError(
        absl::StrFormat("no interrupt table: IDTR base 0x%x, limit %d", base, limit));
  }
  std::array<uint8_t, kExceptions * sizeof(Gate)> bytes;
  const absl::Span<uint8_t> table = absl::MakeSpan(bytes).first(count * sizeof(Gate));
  if (absl::Status read = reader(base, table); !read.ok()) return read;
  std::vector<ExceptionGate> gates;
  for (size_t vector = 0; vector < count; ++vector) {
    Gate gate;
    std::memcpy(&gate, table.data() + vector * sizeof(Gate), sizeof(gate));
    if ((gate.attributes & kPresent) == 0) continue;
    gates.push_back({.vector = static_cast<int>(vector),
                     .handler = uint64_t{gate.offset_high} << 32 |
                                uint64_t{gate.offset_middle} << 16 | gate.offset_low});
  }
  return gates;
}

}  // namespace watchsnap
