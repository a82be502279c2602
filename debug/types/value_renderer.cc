#include "debug/types/value_renderer.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/types/value_reader.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxPath = 512;   // bytes of a path in `degraded`
constexpr size_t kEnumerators = 256;  // looked through for the price of one value

void AppendByteString(std::string& out, Bytes text) {
  out += '"';
  for (const uint8_t byte : text) {
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += static_cast<char>(byte);
    } else if (byte >= 0x20 && byte < 0x7f) {
      out += static_cast<char>(byte);
    } else {
      absl::StrAppendFormat(&out, "\\u%04x", byte);
    }
  }
  out += '"';
}

void AppendName(std::string& out, std::string_view name) {
  AppendByteString(out, Bytes(reinterpret_cast<const uint8_t*>(name.data()), name.size()));
}

void AppendDouble(std::string& out, double value, bool is_float) {
  if (std::isnan(value)) {
    out += "\"NaN\"";
  } else if (std::isinf(value)) {
    out += value < 0 ? "\"-Infinity\"" : "\"Infinity\"";
  } else {
    char digits[40];  // the shortest that reads back the same
    const auto end = is_float ? std::to_chars(digits, digits + sizeof(digits),
                                              static_cast<float>(value))
                              : std::to_chars(digits, digits + sizeof(digits), value);
    out.append(digits, end.ptr);
  }
}

class Renderer {
 public:
  Renderer(const TypeGraph& graph, Bytes bytes, const RenderLimits& limits)
      : graph_(graph), bytes_(bytes), limits_(limits) {}

  RenderedValue Render(const MemberPlace& place) {
    end_bit_ = place.bit_offset + place.bit_size;
    Value(place, 0);
    if (more_degraded_ != 0) {
      result_.degraded.push_back(
          {"(value)", absl::StrFormat("and %d more places like these", more_degraded_)});
    }
    return std::move(result_);
  }

  RenderedValue Nothing(const absl::Status& status) {
    Null(std::string(status.message()));
    return std::move(result_);
  }

 private:
  void Degraded(std::string why) {
    if (result_.degraded.size() >= limits_.max_degraded) {
      ++more_degraded_;
      return;
    }
    result_.degraded.push_back(
        {path_.empty() ? "(value)" : path_.substr(0, kMaxPath), std::move(why)});
  }

  void Null(std::string why) {
    result_.json += "null";
    Degraded(std::move(why));
  }

  // Whether another member or element may be looked at.
  bool Spend() {
    if (values_ < limits_.max_values && result_.json.size() < limits_.max_json) {
      ++values_;
      return true;
    }
    if (!said_full_) {
      said_full_ = true;
      Degraded(values_ >= limits_.max_values
                   ? absl::StrFormat("left out from here on: the limit is %d members and elements",
                                     limits_.max_values)
                   : absl::StrFormat("left out from here on: the limit is %d bytes of text",
                                     limits_.max_json));
    }
    return false;
  }

  bool IsMissing(const MemberPlace& place) const {
    return place.bit_size != 0 && place.bit_offset / 8 >= bytes_.size();
  }
  void Missing(const MemberPlace& place) {
    Null(absl::StrFormat("its bytes, %d to %d, were not all copied: %d were",
                         place.bit_offset / 8, (place.bit_offset + place.bit_size - 1) / 8,
                         bytes_.size()));
  }

  void Value(const MemberPlace& place, size_t depth) {
    const auto resolved = graph_.Resolve(place.type);
    if (!resolved.ok()) return Null(std::string(resolved.status().message()));
    const Type& type = graph_.type(*resolved);
    if (IsMissing(place)) return Missing(place);
    switch (type.kind) {
      case TypeKind::kInt:
      case TypeKind::kEnum:
      case TypeKind::kPointer:
      case TypeKind::kFloat:
        return Scalar(place, type);
      case TypeKind::kArray:
        if (IsCharArray(graph_, type)) return Text(place, type);
        break;
      case TypeKind::kStruct:
      case TypeKind::kUnion:
      case TypeKind::kDataSection:
        break;
      default:
        return Null(absl::StrCat("it has no value: it is ", graph_.Describe(*resolved)));
    }
    if (depth >= limits_.max_depth) {
      return Null(absl::StrFormat("left out: the limit is %d structs and arrays inside each other",
                                  limits_.max_depth));
    }
    if (type.kind == TypeKind::kArray) return Elements(place, type, depth);
    result_.json += '{';
    bool first = true;
    if (type.kind == TypeKind::kDataSection) {
      Variables(place, type, depth, first);
    } else {
      Members(type, place.bit_offset, depth, first);
    }
    result_.json += '}';
  }

  void Key(std::string_view name, bool& first) {
    if (!first) result_.json += ',';
    first = false;
    AppendName(result_.json, name);
    result_.json += ':';
    if (path_.size() > kMaxPath) return;
    if (!path_.empty()) path_ += '.';
    path_ += name.substr(0, kMaxPath);
  }

  void Members(const Type& type, uint64_t bit, size_t depth, bool& first) {
    const size_t path_size = path_.size();
    for (const Member& member : type.members()) {
      if (!Spend()) return;
      if (member.name().empty()) {
        // An anonymous struct or union; or padding, which is not a value.
        const auto inner = graph_.Resolve(member.type);
        if (!inner.ok() || !graph_.type(*inner).IsStructOrUnion()) continue;
        if (depth + 1 >= limits_.max_depth) {
          Degraded(absl::StrFormat("an anonymous member is left out: the limit is %d structs and "
                                   "arrays inside each other",
                                   limits_.max_depth));
          continue;
        }
        Members(graph_.type(*inner), bit + member.bit_offset, depth + 1, first);
        continue;
      }
      Key(member.name(), first);
      const auto place = PlaceOf(graph_, member, bit);
      if (place.ok()) {
        Value(*place, depth + 1);
      } else {
        Null(std::string(place.status().message()));
      }
      path_.resize(path_size);
    }
  }

  void Variables(const MemberPlace& section, const Type& type, size_t depth, bool& first) {
    const size_t path_size = path_.size();
    for (const SectionVariable& variable : type.variables()) {
      if (!Spend()) return;
      Key(graph_.type(variable.variable).name(), first);
      auto place = WholePlace(graph_, variable.variable);
      if (place.ok()) {
        place->bit_offset = section.bit_offset + uint64_t{variable.offset} * 8;
        Value(*place, depth + 1);
      } else {
        Null(std::string(place.status().message()));
      }
      path_.resize(path_size);
    }
  }

  // A flexible array has no length of its own: what the bytes behind the value hold. One of length
  // 0 that is inside the value is a name for a place in it and has no elements.
  bool IsFlexible(const MemberPlace& place, const Type& type) const {
    return type.count() == 0 && place.bit_offset >= end_bit_;
  }

  void Elements(const MemberPlace& place, const Type& type, size_t depth) {
    const auto element = WholePlace(graph_, type.target);
    if (!element.ok()) return Null(std::string(element.status().message()));
    uint64_t count = type.count();
    if (IsFlexible(place, type)) {
      const uint64_t start = place.bit_offset / 8;
      const uint64_t size = element->bit_size / 8;
      count = size == 0 || start >= bytes_.size() ? 0 : (bytes_.size() - start) / size;
    }
    const size_t path_size = path_.size();
    result_.json += '[';
    for (uint64_t i = 0; i < count; ++i) {
      if (i == limits_.max_elements) {
        Degraded(absl::StrFormat("elements %d to %d are left out: the limit is %d", i, count - 1,
                                 limits_.max_elements));
        break;
      }
      if (!Spend()) break;
      const auto at = ElementPlace(graph_, place, i);
      if (!at.ok() || IsMissing(*at)) {
        Degraded(absl::StrFormat("elements %d to %d are left out: their bytes were not copied", i,
                                 count - 1));
        break;
      }
      if (i != 0) result_.json += ',';
      if (path_.size() <= kMaxPath) absl::StrAppend(&path_, "[", i, "]");
      Value(*at, depth + 1);
      path_.resize(path_size);
    }
    result_.json += ']';
  }

  void Text(const MemberPlace& place, const Type& type) {
    const uint64_t start = place.bit_offset / 8;
    const Bytes rest = start < bytes_.size() ? bytes_.subspan(start) : Bytes();
    const uint64_t wanted = IsFlexible(place, type) ? rest.size() : type.count();
    const size_t there = std::min<uint64_t>({wanted, rest.size(), limits_.max_string});
    size_t length = 0;
    while (length < there && rest[length] != 0) ++length;
    AppendByteString(result_.json, rest.first(length));
    if (length < there || there == wanted) return;
    Degraded(there == limits_.max_string
                 ? absl::StrFormat("the text is cut: the limit is %d bytes", limits_.max_string)
                 : absl::StrFormat("the text is cut: of %d bytes %d were copied", wanted, there));
  }

  void Scalar(const MemberPlace& place, const Type& type) {
    values_ += type.enumerators().size() / kEnumerators;
    if (place.bit_size > 64) return Wide(place, type);
    const auto value = LoadBits(bytes_, place.bit_offset, place.bit_size);
    if (!value.has_value()) return Missing(place);
    if (type.kind == TypeKind::kPointer) {
      absl::StrAppendFormat(&result_.json, "\"0x%x\"", *value);
    } else if (type.kind == TypeKind::kFloat) {
      if (place.bit_size == 32) {
        AppendDouble(result_.json, std::bit_cast<float>(static_cast<uint32_t>(*value)), true);
      } else if (place.bit_size == 64) {
        AppendDouble(result_.json, std::bit_cast<double>(*value), false);
      } else {
        Null(absl::StrFormat("floats of %d bits are not read", place.bit_size));
      }
    } else if (const Enumerator* named = FindEnumerator(type, *value, place.bit_size);
               named != nullptr && !named->name().empty()) {
      AppendName(result_.json, named->name());
    } else if (type.encoding == IntEncoding::kBool && *value <= 1) {
      result_.json += *value == 1 ? "true" : "false";
    } else if (type.is_signed && place.bit_size != 0) {
      absl::StrAppend(&result_.json, SignExtend(*value, place.bit_size));
    } else {
      absl::StrAppend(&result_.json, *value);
    }
  }

  void Wide(const MemberPlace& place, const Type& type) {
    const auto low = LoadBits(bytes_, place.bit_offset, 64);
    const auto high = LoadBits(bytes_, place.bit_offset + 64, place.bit_size - 64);
    if (place.bit_size > 128 || type.kind != TypeKind::kInt) {
      Null(absl::StrFormat("%s of %d bits is not read", graph_.Describe(place.type),
                           place.bit_size));
    } else if (!low.has_value() || !high.has_value()) {
      Missing(place);
    } else {
      absl::StrAppendFormat(&result_.json, "\"0x%016x%016x\"", *high, *low);
    }
  }

  const TypeGraph& graph_;
  const Bytes bytes_;
  const RenderLimits& limits_;
  RenderedValue result_;
  std::string path_;
  uint64_t end_bit_ = 0;  // of the value asked for; a flexible array begins here
  size_t values_ = 0;
  size_t more_degraded_ = 0;
  bool said_full_ = false;
};

}  // namespace

RenderedValue RenderValue(const TypeGraph& graph, const MemberPlace& place,
                          absl::Span<const uint8_t> bytes, const RenderLimits& limits) {
  return Renderer(graph, bytes, limits).Render(place);
}

RenderedValue RenderValue(const TypeGraph& graph, TypeId type, absl::Span<const uint8_t> bytes,
                          const RenderLimits& limits) {
  const auto place = WholePlace(graph, type);
  if (place.ok()) return RenderValue(graph, *place, bytes, limits);
  return Renderer(graph, bytes, limits).Nothing(place.status());
}

}  // namespace watchsnap
