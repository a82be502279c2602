#include "debug/types/btf_reader.h"

#include <linux/btf.h>

#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/types/type_graph_builder.h"

namespace watchsnap {
namespace {

using Graph = std::shared_ptr<const TypeGraph>;

// btf.h of Debian 12 has all of these but the widths: since Linux 7 the fields of `info` use the
// bits that were reserved before (0), so reading them wide is right for both.
constexpr uint32_t kVlenMask = 0xffffff;
constexpr uint32_t kKindMask = 0x7f;
constexpr uint64_t kPointerSize = 8;  // of every machine this project runs

// A little-endian field; the caller checked that it is there.
template <typename T>
T Load(const uint8_t* at) {
  T value;
  memcpy(&value, at, sizeof(value));
  return value;
}

// The bytes that follow a `btf_type` of this kind; nullopt-like ~0 for an unknown kind.
constexpr uint64_t kUnknownKind = ~uint64_t{0};
uint64_t DetailBytes(uint32_t kind, uint64_t vlen) {
  switch (kind) {
    case BTF_KIND_INT: return sizeof(uint32_t);
    case BTF_KIND_ARRAY: return sizeof(btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION: return vlen * sizeof(btf_member);
    case BTF_KIND_ENUM: return vlen * sizeof(btf_enum);
    case BTF_KIND_ENUM64: return vlen * sizeof(btf_enum64);
    case BTF_KIND_FUNC_PROTO: return vlen * sizeof(btf_param);
    case BTF_KIND_VAR: return sizeof(btf_var);
    case BTF_KIND_DATASEC: return vlen * sizeof(btf_var_secinfo);
    case BTF_KIND_DECL_TAG: return sizeof(btf_decl_tag);
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG: return 0;
    default: return kUnknownKind;
  }
}

class Reader {
 public:
  Reader(absl::Span<const uint8_t> bytes, BtfOptions& options)
      : bytes_(bytes),
        name_(options.name),
        base_(options.base),
        builder_(options.name, std::move(options.base)) {}

  absl::Status ReadHeader();
  absl::Status ReadTypes();
  TypeGraphBuilder& builder() { return builder_; }

 private:
  template <typename... Args>
  absl::Status Damaged(const absl::FormatSpec<Args...>& format, const Args&... args) {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, " is damaged: ", absl::StrFormat(format, args...)));
  }
  absl::StatusOr<uint64_t> CountTypes();
  absl::Status ReadType(const uint8_t* at);
  absl::Status ReadInt(const uint8_t* detail, Type& type);
  absl::Status ReadMembers(const uint8_t* detail, TypeId id, uint32_t count, bool bitfields);
  absl::Status ReadEnumerators(const uint8_t* detail, TypeId id, uint32_t count, bool wide);
  absl::Status Name(uint32_t offset, const char*& name);

  absl::Span<const uint8_t> bytes_;
  const std::string name_;
  const Graph base_;
  TypeGraphBuilder builder_;
  absl::Span<const uint8_t> types_;
  std::string_view strings_;
};

absl::Status Reader::ReadHeader() {
  if (bytes_.size() < sizeof(btf_header)) {
    return Damaged("%d bytes, and its header alone has %d", bytes_.size(), sizeof(btf_header));
  }
  const auto header = Load<btf_header>(bytes_.data());
  if (header.magic == __builtin_bswap16(BTF_MAGIC)) {
    return absl::UnimplementedError(
        absl::StrCat(name_, " is of a big-endian machine; this reader knows little-endian BTF"));
  }
  if (header.magic != BTF_MAGIC) {
    return Damaged("it begins with %#x instead of %#x", header.magic, BTF_MAGIC);
  }
  if (header.version != BTF_VERSION) {
    return absl::UnimplementedError(absl::StrFormat(
        "%s has version %d; this reader knows version %d", name_, header.version, BTF_VERSION));
  }
  if (header.hdr_len < sizeof(btf_header) || header.hdr_len > bytes_.size()) {
    return Damaged("its header says it has %d bytes, of %d in all", header.hdr_len, bytes_.size());
  }
  const auto rest = bytes_.subspan(header.hdr_len);
  const auto outside = [&](uint64_t offset, uint64_t size) {
    return offset > rest.size() || size > rest.size() - offset;
  };
  if (outside(header.type_off, header.type_len)) {
    return Damaged("its types are said to be %d bytes at %d, and %d bytes follow the header",
                   header.type_len, header.type_off, rest.size());
  }
  if (outside(header.str_off, header.str_len)) {
    return Damaged("its strings are said to be %d bytes at %d, and %d bytes follow the header",
                   header.str_len, header.str_off, rest.size());
  }
  types_ = rest.subspan(header.type_off, header.type_len);
  strings_ = std::string_view(reinterpret_cast<const char*>(rest.data()) + header.str_off,
                              header.str_len);
  // With a NUL at the end every name ends inside. Split BTF may have no strings of its own.
  const bool empty_split = base_ != nullptr && strings_.empty();
  if (!empty_split && (strings_.empty() || strings_.back() != '\0')) {
    return Damaged("its %d bytes of strings do not end with a NUL", strings_.size());
  }
  if (base_ == nullptr && strings_.front() != '\0') {
    return Damaged("its first string is not empty");
  }
  builder_.SetStrings(strings_);
  return absl::OkStatus();
}

absl::Status Reader::Name(uint32_t offset, const char*& name) {
  name = nullptr;
  if (offset == 0) return absl::OkStatus();
  uint64_t start = base_ == nullptr ? 0 : base_->strings_end();
  std::string_view strings = strings_;
  for (const TypeGraph* graph = base_.get(); offset < start; graph = graph->base().get()) {
    strings = graph->strings();
    start -= strings.size();
  }
  if (offset - start >= strings.size()) {
    return Damaged("type %d has a name at %d of the strings, which end at %d",
                   builder_.next_id() - 1, offset, start + strings.size());
  }
  const char* at = strings.data() + (offset - start);
  if (*at != '\0') name = at;
  return absl::OkStatus();
}

// Walks the whole section, so that what follows need not look where it ends.
absl::StatusOr<uint64_t> Reader::CountTypes() {
  uint64_t count = 0;
  const uint64_t first = builder_.next_id();
  for (uint64_t offset = 0; offset < types_.size();) {
    const uint64_t left = types_.size() - offset;
    if (left < sizeof(btf_type)) {
      return Damaged("%d stray bytes follow type %d", left, first + count - 1);
    }
    const auto type = Load<btf_type>(types_.data() + offset);
    const uint32_t kind = (type.info >> 24) & kKindMask;
    const uint64_t detail = DetailBytes(kind, type.info & kVlenMask);
    if (detail == kUnknownKind && kind <= BTF_KIND_MAX) {
      return Damaged("type %d, at byte %d of the types, has kind %d", first + count, offset, kind);
    }
    if (detail == kUnknownKind) {
      return absl::UnimplementedError(absl::StrFormat(
          "%s: type %d, at byte %d of the types, has kind %d; this reader knows kinds up to %d",
          name_, first + count, offset, kind, BTF_KIND_MAX));
    }
    if (detail > left - sizeof(btf_type)) {
      return Damaged("type %d, of kind %d at byte %d of the types, says %d bytes follow it, and "
                     "%d do",
                     first + count, kind, offset, detail, left - sizeof(btf_type));
    }
    offset += sizeof(btf_type) + detail;
    ++count;
  }
  return count;
}

absl::Status Reader::ReadTypes() {
  auto count = CountTypes();
  if (!count.ok()) return count.status();
  if (*count > UINT32_MAX - builder_.next_id()) return Damaged("it has %d types", *count);
  builder_.Reserve(*count + 1);
  const uint8_t* at = types_.data();
  for (uint64_t i = 0; i < *count; ++i) {
    if (auto status = ReadType(at); !status.ok()) return status;
    const uint32_t info = Load<uint32_t>(at + offsetof(btf_type, info));
    at += sizeof(btf_type) + DetailBytes((info >> 24) & kKindMask, info & kVlenMask);
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadInt(const uint8_t* detail, Type& type) {
  const uint32_t encoding = Load<uint32_t>(detail);
  const uint32_t bits = BTF_INT_BITS(encoding);
  const bool power = type.size != 0 && (type.size & (type.size - 1)) == 0;
  if (!power || type.size > 16 || bits == 0 || BTF_INT_OFFSET(encoding) + bits > type.size * 8) {
    return Damaged("type %d is an int of %d bytes with %d bits from bit %d",
                   builder_.next_id() - 1, type.size, bits, BTF_INT_OFFSET(encoding));
  }
  type.bits = static_cast<uint8_t>(bits);
  type.bit_start = static_cast<uint8_t>(BTF_INT_OFFSET(encoding));
  type.is_signed = (BTF_INT_ENCODING(encoding) & BTF_INT_SIGNED) != 0;
  if ((BTF_INT_ENCODING(encoding) & BTF_INT_BOOL) != 0) {
    type.encoding = IntEncoding::kBool;
  } else if (type.size == 1 && type.name() == "char") {
    // BTF_INT_CHAR is set by nobody reliably; the name is what tells text from u8.
    type.encoding = IntEncoding::kChar;
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadMembers(const uint8_t* detail, TypeId id, uint32_t count,
                                 bool bitfields) {
  for (Member& member : builder_.AddMembers(id, count)) {
    const auto raw = Load<btf_member>(detail);
    detail += sizeof(btf_member);
    if (auto status = Name(raw.name_off, member.c_name); !status.ok()) return status;
    member.type = raw.type;
    member.bit_offset = bitfields ? BTF_MEMBER_BIT_OFFSET(raw.offset) : raw.offset;
    member.bitfield_size = bitfields ? BTF_MEMBER_BITFIELD_SIZE(raw.offset) : 0;
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadEnumerators(const uint8_t* detail, TypeId id, uint32_t count,
                                     bool wide) {
  const bool is_signed = builder_.at(id).is_signed;
  for (Enumerator& enumerator : builder_.AddEnumerators(id, count)) {
    if (auto status = Name(Load<uint32_t>(detail), enumerator.c_name); !status.ok()) return status;
    if (wide) {
      const auto raw = Load<btf_enum64>(detail);
      enumerator.value = (uint64_t{raw.val_hi32} << 32) | raw.val_lo32;
      detail += sizeof(btf_enum64);
    } else {
      const int32_t value = Load<btf_enum>(detail).val;
      enumerator.value = is_signed ? static_cast<uint64_t>(int64_t{value})
                                   : uint64_t{static_cast<uint32_t>(value)};
      detail += sizeof(btf_enum);
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadType(const uint8_t* at) {
  const auto raw = Load<btf_type>(at);
  const uint8_t* detail = at + sizeof(btf_type);
  const uint32_t kind = (raw.info >> 24) & kKindMask;
  const uint32_t vlen = raw.info & kVlenMask;
  const bool flag = BTF_INFO_KFLAG(raw.info) != 0;
  const TypeId id = builder_.Add({});
  Type& type = builder_.at(id);
  if (auto status = Name(raw.name_off, type.c_name); !status.ok()) return status;
  const auto refer = [&](TypeKind to) {
    type.kind = to;
    type.target = raw.type;
    return absl::OkStatus();
  };
  switch (kind) {
    case BTF_KIND_INT:
      type.kind = TypeKind::kInt;
      type.size = raw.size;
      return ReadInt(detail, type);
    case BTF_KIND_FLOAT:
      type.kind = TypeKind::kFloat;
      type.size = raw.size;
      if (raw.size > 16) return Damaged("type %d is a float of %d bytes", id, raw.size);
      return absl::OkStatus();
    case BTF_KIND_PTR:
      type.size = kPointerSize;
      return refer(TypeKind::kPointer);
    case BTF_KIND_TYPEDEF: return refer(TypeKind::kTypedef);
    case BTF_KIND_VOLATILE: return refer(TypeKind::kVolatile);
    case BTF_KIND_CONST: return refer(TypeKind::kConst);
    case BTF_KIND_RESTRICT: return refer(TypeKind::kRestrict);
    case BTF_KIND_TYPE_TAG: return refer(TypeKind::kTypeTag);
    case BTF_KIND_FUNC: return refer(TypeKind::kFunction);
    case BTF_KIND_VAR: return refer(TypeKind::kVariable);
    case BTF_KIND_DECL_TAG:
      type.component = Load<btf_decl_tag>(detail).component_idx;
      return refer(TypeKind::kDeclTag);
    case BTF_KIND_FWD:
      type.kind = TypeKind::kForward;
      type.is_union = flag;
      return absl::OkStatus();
    case BTF_KIND_ARRAY: {
      const auto array = Load<btf_array>(detail);
      type.kind = TypeKind::kArray;
      type.target = array.type;
      type.details_count = array.nelems;
      return absl::OkStatus();
    }
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      type.kind = kind == BTF_KIND_STRUCT ? TypeKind::kStruct : TypeKind::kUnion;
      type.size = raw.size;
      return ReadMembers(detail, id, vlen, flag);
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
      type.kind = TypeKind::kEnum;
      type.size = raw.size;
      type.is_signed = flag;
      if (raw.size == 0 || raw.size > 8 || (raw.size & (raw.size - 1)) != 0) {
        return Damaged("type %d is an enum of %d bytes", id, raw.size);
      }
      return ReadEnumerators(detail, id, vlen, kind == BTF_KIND_ENUM64);
    case BTF_KIND_FUNC_PROTO:
      for (Parameter& parameter : builder_.AddParameters(id, vlen)) {
        const auto param = Load<btf_param>(detail);
        detail += sizeof(btf_param);
        if (auto status = Name(param.name_off, parameter.c_name); !status.ok()) return status;
        parameter.type = param.type;
      }
      return refer(TypeKind::kFunctionProto);
    case BTF_KIND_DATASEC:
      type.size = raw.size;
      type.kind = TypeKind::kDataSection;
      for (SectionVariable& variable : builder_.AddVariables(id, vlen)) {
        const auto info = Load<btf_var_secinfo>(detail);
        detail += sizeof(btf_var_secinfo);
        variable = {.variable = info.type, .offset = info.offset, .size = info.size};
      }
      return absl::OkStatus();
    default:  // CountTypes() let no other pass
      return Damaged("type %d has kind %d", id, kind);
  }
}

}  // namespace

absl::StatusOr<Graph> ReadBtf(absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                              BtfOptions options) {
  Reader reader(bytes, options);
  if (auto status = reader.ReadHeader(); !status.ok()) return status;
  if (auto status = reader.ReadTypes(); !status.ok()) return status;
  reader.builder().KeepAlive(std::move(owner));
  return std::move(reader.builder()).Build();
}

absl::StatusOr<Graph> ReadBtf(std::vector<uint8_t> bytes, BtfOptions options) {
  const auto owned = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  return ReadBtf(absl::MakeConstSpan(*owned), owned, std::move(options));
}

absl::StatusOr<Graph> ReadBtfOfElf(const ElfFile& elf, std::shared_ptr<const void> owner,
                                   BtfOptions options) {
  const ElfSection* section = elf.FindSection(".BTF");
  if (section == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        elf.path(), " has no section .BTF; a kernel needs CONFIG_DEBUG_INFO_BTF, a BPF object "
                    "clang -g"));
  }
  if (options.name.empty()) options.name = absl::StrCat("the .BTF of ", elf.path());
  return ReadBtf(elf.Contents(*section), std::move(owner), std::move(options));
}

absl::StatusOr<Graph> ReadBtfOfElf(std::shared_ptr<const ElfFile> elf, BtfOptions options) {
  const ElfFile& file = *elf;
  return ReadBtfOfElf(file, std::move(elf), std::move(options));
}

}  // namespace watchsnap
