#include "debug/types/btf_source.h"

#include <linux/btf.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

namespace watchsnap {
namespace {

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

TypeKind KindOf(uint32_t kind) {
  switch (kind) {
    case BTF_KIND_INT: return TypeKind::kInt;
    case BTF_KIND_FLOAT: return TypeKind::kFloat;
    case BTF_KIND_PTR: return TypeKind::kPointer;
    case BTF_KIND_ARRAY: return TypeKind::kArray;
    case BTF_KIND_STRUCT: return TypeKind::kStruct;
    case BTF_KIND_UNION: return TypeKind::kUnion;
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64: return TypeKind::kEnum;
    case BTF_KIND_FWD: return TypeKind::kForward;
    case BTF_KIND_TYPEDEF: return TypeKind::kTypedef;
    case BTF_KIND_CONST: return TypeKind::kConst;
    case BTF_KIND_VOLATILE: return TypeKind::kVolatile;
    case BTF_KIND_RESTRICT: return TypeKind::kRestrict;
    case BTF_KIND_FUNC_PROTO: return TypeKind::kFunctionProto;
    case BTF_KIND_FUNC: return TypeKind::kFunction;
    case BTF_KIND_VAR: return TypeKind::kVariable;
    case BTF_KIND_DATASEC: return TypeKind::kDataSection;
    case BTF_KIND_DECL_TAG: return TypeKind::kDeclTag;
    case BTF_KIND_TYPE_TAG: return TypeKind::kTypeTag;
    default: return TypeKind::kVoid;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<const BtfSource>> BtfSource::Create(
    absl::Span<const uint8_t> bytes, std::string name, std::shared_ptr<const TypeGraph> base) {
  auto source = std::unique_ptr<BtfSource>(new BtfSource(std::move(name), std::move(base)));
  absl::Status status = source->ReadHeader(bytes);
  if (status.ok()) status = source->FindTypes();
  if (!status.ok()) return status;
  return source;
}

absl::Status BtfSource::ReadHeader(absl::Span<const uint8_t> bytes) {
  if (bytes.size() < sizeof(btf_header)) {
    return Damaged("%d bytes, and its header alone has %d", bytes.size(), sizeof(btf_header));
  }
  const auto header = Load<btf_header>(bytes.data());
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
  if (header.hdr_len < sizeof(btf_header) || header.hdr_len > bytes.size()) {
    return Damaged("its header says it has %d bytes, of %d in all", header.hdr_len, bytes.size());
  }
  const auto rest = bytes.subspan(header.hdr_len);
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
  return absl::OkStatus();
}

absl::Status BtfSource::NameAt(uint32_t offset, TypeId id, const char*& name) const {
  name = nullptr;
  if (offset == 0) return absl::OkStatus();
  uint64_t start = base_ == nullptr ? 0 : base_->strings_end();
  std::string_view strings = strings_;
  for (const TypeGraph* graph = base_.get(); offset < start; graph = graph->base().get()) {
    strings = graph->strings();
    start -= strings.size();
  }
  if (offset - start >= strings.size()) {
    return Damaged("type %d has a name at %d of the strings, which end at %d", id, offset,
                   start + strings.size());
  }
  const char* at = strings.data() + (offset - start);
  if (*at != '\0') name = at;
  return absl::OkStatus();
}

// What the record at `offset` of the types is, which is that of type `id`; an error where it does not lie inside.
absl::StatusOr<BtfSource::Record> BtfSource::RecordAt(uint64_t offset, TypeId id) const {
  const uint64_t left = types_.size() - std::min<uint64_t>(offset, types_.size());
  if (left < sizeof(btf_type)) {
    return Damaged("%d stray bytes follow type %d", left, int64_t{id} - 1);
  }
  const uint8_t* at = types_.data() + offset;
  const auto type = Load<btf_type>(at);
  const uint32_t kind = (type.info >> 24) & kKindMask;
  const uint64_t detail = DetailBytes(kind, type.info & kVlenMask);
  if (detail == kUnknownKind && kind <= BTF_KIND_MAX) {
    return Damaged("type %d, at byte %d of the types, has kind %d", id, offset, kind);
  }
  if (detail == kUnknownKind) {
    return absl::UnimplementedError(absl::StrFormat(
        "%s: type %d, at byte %d of the types, has kind %d; this reader knows kinds up to %d",
        name_, id, offset, kind, BTF_KIND_MAX));
  }
  if (detail > left - sizeof(btf_type)) {
    return Damaged("type %d, of kind %d at byte %d of the types, says %d bytes follow it, and "
                   "%d do",
                   id, kind, offset, detail, left - sizeof(btf_type));
  }
  return Record{.id = id,
                .kind = kind,
                .count = type.info & kVlenMask,
                .flag = BTF_INFO_KFLAG(type.info) != 0,
                .name_offset = type.name_off,
                .size_or_type = type.size,
                .detail = at + sizeof(btf_type),
                .bytes = sizeof(btf_type) + detail};
}

// Walks the whole section.
absl::Status BtfSource::FindTypes() {
  uint64_t count = 0;
  const auto begin = [&](uint64_t offset) {
    if (count++ % TypeGraph::kBlock == 0) blocks_.push_back(static_cast<uint32_t>(offset));
  };
  if (base_ == nullptr) begin(0);  // void has no record
  for (uint64_t offset = 0; offset < types_.size();) {
    auto record = RecordAt(offset, static_cast<TypeId>(first_id() + count));
    if (!record.ok()) return record.status();
    begin(offset);
    offset += record->bytes;
  }
  if (count > UINT32_MAX - first_id()) return Damaged("it has %d types", count);
  count_ = static_cast<TypeId>(count);
  return absl::OkStatus();
}

absl::Status BtfSource::Decode(TypeId first, absl::Span<Type> types, TypeArena& arena) const {
  uint64_t offset = blocks_[first / TypeGraph::kBlock];
  for (size_t i = 0; i < types.size(); ++i) {
    if (base_ == nullptr && first + i == 0) continue;
    auto record = RecordAt(offset, static_cast<TypeId>(first_id() + first + i));
    if (!record.ok()) return record.status();
    if (auto status = DecodeOne(*record, types[i], arena); !status.ok()) return status;
    offset += record->bytes;
  }
  return absl::OkStatus();
}

void BtfSource::ForEachName(
    absl::FunctionRef<void(TypeId, TypeKind, std::string_view name)> visit) const {
  uint64_t offset = 0;
  for (TypeId own = base_ == nullptr ? 1 : 0; own < count_; ++own) {
    const auto record = RecordAt(offset, first_id() + own);
    const char* name = nullptr;
    if (!record.ok() || !NameAt(record->name_offset, record->id, name).ok()) return;
    if (name != nullptr) visit(own, KindOf(record->kind), NameView(name));
    offset += record->bytes;
  }
}

absl::Status BtfSource::DecodeInt(const Record& record, Type& type) const {
  const uint32_t encoding = Load<uint32_t>(record.detail);
  const uint32_t bits = BTF_INT_BITS(encoding);
  const bool power = type.size != 0 && (type.size & (type.size - 1)) == 0;
  if (!power || type.size > 16 || bits == 0 || BTF_INT_OFFSET(encoding) + bits > type.size * 8) {
    return Damaged("type %d is an int of %d bytes with %d bits from bit %d",
                   record.id, type.size, bits, BTF_INT_OFFSET(encoding));
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

absl::Status BtfSource::DecodeMembers(const Record& record, Type& type, TypeArena& arena) const {
  const bool bitfields = record.flag;
  const uint8_t* detail = record.detail;
  for (Member& member : arena.AddParts<Member>(type, record.count)) {
    const auto raw = Load<btf_member>(detail);
    detail += sizeof(btf_member);
    if (auto status = NameAt(raw.name_off, record.id, member.c_name); !status.ok()) return status;
    member.type = raw.type;
    member.bit_offset = bitfields ? BTF_MEMBER_BIT_OFFSET(raw.offset) : raw.offset;
    member.bitfield_size = bitfields ? BTF_MEMBER_BITFIELD_SIZE(raw.offset) : 0;
  }
  return absl::OkStatus();
}

absl::Status BtfSource::DecodeEnumerators(const Record& record, Type& type,
                                           TypeArena& arena) const {
  const bool wide = record.kind == BTF_KIND_ENUM64;
  const uint8_t* detail = record.detail;
  for (Enumerator& enumerator : arena.AddParts<Enumerator>(type, record.count)) {
    auto status = NameAt(Load<uint32_t>(detail), record.id, enumerator.c_name);
    if (!status.ok()) return status;
    if (wide) {
      const auto raw = Load<btf_enum64>(detail);
      enumerator.value = (uint64_t{raw.val_hi32} << 32) | raw.val_lo32;
      detail += sizeof(btf_enum64);
    } else {
      const int32_t value = Load<btf_enum>(detail).val;
      enumerator.value = type.is_signed ? static_cast<uint64_t>(int64_t{value})
                                        : uint64_t{static_cast<uint32_t>(value)};
      detail += sizeof(btf_enum);
    }
  }
  return absl::OkStatus();
}

absl::Status BtfSource::DecodeOne(const Record& record, Type& type, TypeArena& arena) const {
  if (auto status = NameAt(record.name_offset, record.id, type.c_name); !status.ok()) return status;
  type.kind = KindOf(record.kind);
  const uint8_t* detail = record.detail;
  switch (record.kind) {
    case BTF_KIND_INT:
      type.size = record.size_or_type;
      return DecodeInt(record, type);
    case BTF_KIND_FLOAT:
      type.size = record.size_or_type;
      if (type.size > 16) return Damaged("type %d is a float of %d bytes", record.id, type.size);
      return absl::OkStatus();
    case BTF_KIND_FWD:
      type.is_union = record.flag;
      return absl::OkStatus();
    case BTF_KIND_ARRAY: {
      const auto array = Load<btf_array>(detail);
      type.target = array.type;
      type.details_count = array.nelems;
      return absl::OkStatus();
    }
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      type.size = record.size_or_type;
      return DecodeMembers(record, type, arena);
    case BTF_KIND_ENUM:
    case BTF_KIND_ENUM64:
      type.size = record.size_or_type;
      type.is_signed = record.flag;
      if (type.size == 0 || type.size > 8 || (type.size & (type.size - 1)) != 0) {
        return Damaged("type %d is an enum of %d bytes", record.id, type.size);
      }
      return DecodeEnumerators(record, type, arena);
    case BTF_KIND_DATASEC:
      type.size = record.size_or_type;
      for (SectionVariable& variable : arena.AddParts<SectionVariable>(type, record.count)) {
        const auto info = Load<btf_var_secinfo>(detail);
        detail += sizeof(btf_var_secinfo);
        variable = {.variable = info.type, .offset = info.offset, .size = info.size};
      }
      return absl::OkStatus();
    case BTF_KIND_FUNC_PROTO:
      for (Parameter& parameter : arena.AddParts<Parameter>(type, record.count)) {
        const auto param = Load<btf_param>(detail);
        detail += sizeof(btf_param);
        auto status = NameAt(param.name_off, record.id, parameter.c_name);
        if (!status.ok()) return status;
        parameter.type = param.type;
      }
      break;
    case BTF_KIND_PTR:
      type.size = kPointerSize;
      break;
    case BTF_KIND_DECL_TAG:
      type.component = Load<btf_decl_tag>(detail).component_idx;
      break;
    default:  // typedef, qualifiers, function, variable, type tag
      break;
  }
  type.target = record.size_or_type;
  return absl::OkStatus();
}

}  // namespace watchsnap
