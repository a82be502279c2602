#include "debug/types/value_reader.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

absl::Status WrongType(const TypeGraph& graph, const MemberPlace& place, std::string_view wanted) {
  const std::string members = ListMembers(graph, place.type);
  return absl::InvalidArgumentError(
      absl::StrCat("it is not ", wanted, " but ", graph.Describe(place.type),
                   members.empty() ? "" : "; it has ", members));
}

absl::Status TooShort(Bytes bytes, const MemberPlace& place) {
  return absl::DataLossError(absl::StrFormat(
      "it is %d bits from bit %d (byte %d), and only %d bytes are there", place.bit_size,
      place.bit_offset, place.bit_offset / 8, bytes.size()));
}

// A number of at most 64 bits; negative ones are sign-extended in `bits`.
struct Number {
  uint64_t bits = 0;
  bool negative = false;
};

absl::StatusOr<Number> ReadNumber(const TypeGraph& graph, Bytes bytes, const MemberPlace& place,
                                  std::string_view wanted) {
  const auto resolved = graph.Resolve(place.type);
  if (!resolved.ok()) return resolved.status();
  const Type& type = graph.type(*resolved);
  if (type.kind != TypeKind::kInt && type.kind != TypeKind::kEnum &&
      type.kind != TypeKind::kPointer) {
    return WrongType(graph, place, wanted);
  }
  Number number;
  uint64_t low_bits = place.bit_size;
  if (place.bit_size > 64) {  // __int128: read where it is small enough
    low_bits = 64;
    const auto high = LoadBits(bytes, place.bit_offset + 64, place.bit_size - 64);
    if (!high.has_value()) return TooShort(bytes, place);
    if (*high != 0) {
      return absl::OutOfRangeError(absl::StrFormat("%s: its value needs more than 64 bits",
                                                   graph.Describe(place.type)));
    }
  }
  const auto value = LoadBits(bytes, place.bit_offset, low_bits);
  if (!value.has_value()) return TooShort(bytes, place);
  number.bits = *value;
  if (type.is_signed && place.bit_size >= 1 && place.bit_size <= 64) {
    const int64_t extended = SignExtend(*value, place.bit_size);
    number.bits = static_cast<uint64_t>(extended);
    number.negative = extended < 0;
  }
  return number;
}

}  // namespace

std::optional<uint64_t> LoadBits(Bytes bytes, uint64_t bit_offset, uint64_t bit_size) {
  if (bit_size > 64) return std::nullopt;
  const uint64_t first = bit_offset / 8;
  const uint64_t shift = bit_offset % 8;
  const uint64_t count = (shift + bit_size + 7) / 8;  // up to 9 bytes
  if (first > bytes.size() || count > bytes.size() - first) return std::nullopt;
  if (bit_size == 0) return 0;
  uint8_t raw[16] = {};
  memcpy(raw, bytes.data() + first, count);
  uint64_t low;
  memcpy(&low, raw, sizeof(low));
  uint64_t value = low >> shift;
  if (shift != 0) value |= uint64_t{raw[8]} << (64 - shift);
  return bit_size == 64 ? value : value & ((uint64_t{1} << bit_size) - 1);
}

int64_t SignExtend(uint64_t value, uint64_t bits) {
  const uint64_t unused = 64 - bits;
  return static_cast<int64_t>(value << unused) >> unused;
}

const Enumerator* FindEnumerator(const Type& type, uint64_t value, uint64_t bits) {
  const uint64_t mask = bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  for (const Enumerator& enumerator : type.enumerators()) {
    if ((enumerator.value & mask) == (value & mask)) return &enumerator;
  }
  return nullptr;
}

bool IsCharArray(const TypeGraph& graph, const Type& array) {
  if (array.kind != TypeKind::kArray) return false;
  const auto element = graph.Resolve(array.target);
  return element.ok() && graph.type(*element).kind == TypeKind::kInt &&
         graph.type(*element).encoding == IntEncoding::kChar;
}

absl::StatusOr<uint64_t> ReadUnsigned(const TypeGraph& graph, Bytes bytes,
                                      const MemberPlace& place) {
  const auto number = ReadNumber(graph, bytes, place, "an integer");
  if (!number.ok()) return number.status();
  if (number->negative) {
    return absl::OutOfRangeError(
        absl::StrFormat("it is %d (%s), which no unsigned number is; read it as signed",
                        static_cast<int64_t>(number->bits), graph.Describe(place.type)));
  }
  return number->bits;
}

absl::StatusOr<int64_t> ReadSigned(const TypeGraph& graph, Bytes bytes, const MemberPlace& place) {
  const auto number = ReadNumber(graph, bytes, place, "an integer");
  if (!number.ok()) return number.status();
  if (!number->negative && number->bits > static_cast<uint64_t>(INT64_MAX)) {
    return absl::OutOfRangeError(
        absl::StrFormat("it is %d (%s), more than a signed number holds; read it as unsigned",
                        number->bits, graph.Describe(place.type)));
  }
  return static_cast<int64_t>(number->bits);
}

absl::StatusOr<bool> ReadBool(const TypeGraph& graph, Bytes bytes, const MemberPlace& place) {
  const auto number = ReadNumber(graph, bytes, place, "a bool");
  if (!number.ok()) return number.status();
  return number->bits != 0;
}

absl::StatusOr<double> ReadFloat(const TypeGraph& graph, Bytes bytes, const MemberPlace& place) {
  const auto resolved = graph.Resolve(place.type);
  if (!resolved.ok()) return resolved.status();
  if (graph.type(*resolved).kind == TypeKind::kFloat) {
    const auto bits = LoadBits(bytes, place.bit_offset, std::min<uint64_t>(place.bit_size, 64));
    if (!bits.has_value()) return TooShort(bytes, place);
    if (place.bit_size == 32) return std::bit_cast<float>(static_cast<uint32_t>(*bits));
    if (place.bit_size == 64) return std::bit_cast<double>(*bits);
    return absl::UnimplementedError(
        absl::StrFormat("%s: floats of %d bits are not read; those of 32 and 64 are",
                        graph.Describe(place.type), place.bit_size));
  }
  const auto number = ReadNumber(graph, bytes, place, "a number");
  if (!number.ok()) return number.status();
  const double value = number->negative ? static_cast<double>(static_cast<int64_t>(number->bits))
                                        : static_cast<double>(number->bits);
  // 2^53: beyond it a double skips integers.
  if (std::fabs(value) > 9007199254740992.0) {
    return absl::OutOfRangeError(absl::StrFormat(
        "it is an integer (%s) that a double does not hold exactly; read it as an integer",
        graph.Describe(place.type)));
  }
  return value;
}

absl::StatusOr<std::string> ReadString(const TypeGraph& graph, Bytes bytes,
                                       const MemberPlace& place) {
  const auto resolved = graph.Resolve(place.type);
  if (!resolved.ok()) return resolved.status();
  const Type& type = graph.type(*resolved);
  if (type.kind == TypeKind::kEnum) {
    const auto value = LoadBits(bytes, place.bit_offset, place.bit_size);
    if (!value.has_value()) return TooShort(bytes, place);
    const Enumerator* named = FindEnumerator(type, *value, place.bit_size);
    if (named == nullptr) {
      return absl::OutOfRangeError(absl::StrFormat(
          "%s has no name for the value %d; read it as a number", graph.Describe(place.type),
          type.is_signed && place.bit_size != 0 ? SignExtend(*value, place.bit_size)
                                                : static_cast<int64_t>(*value)));
    }
    return std::string(named->name());
  }
  if (type.kind == TypeKind::kInt && type.encoding == IntEncoding::kChar) {
    const auto value = LoadBits(bytes, place.bit_offset, 8);
    if (!value.has_value()) return TooShort(bytes, place);
    return std::string(*value == 0 ? 0 : 1, static_cast<char>(*value));
  }
  if (!IsCharArray(graph, type)) return WrongType(graph, place, "a text");
  const uint64_t first = place.bit_offset / 8;
  if (first > bytes.size()) return TooShort(bytes, place);
  Bytes text = bytes.subspan(first);
  const bool whole = type.count() == 0 || type.count() <= text.size();
  if (type.count() != 0) text = text.first(std::min<uint64_t>(type.count(), text.size()));
  size_t length = 0;
  while (length < text.size() && text[length] != 0) ++length;
  // Bytes beyond the NUL are not missed.
  if (length == text.size() && !whole) return TooShort(bytes, place);
  return std::string(reinterpret_cast<const char*>(text.data()), length);
}

}  // namespace watchsnap
