// BTF put together by hand, byte for byte, for tests. What is wrong in it is meant to be.
//
//   BtfBuilder btf;
//   const uint32_t u32 = btf.Int("unsigned int", 4);
//   const uint32_t pair = btf.Struct("pair", 8, {{"a", u32, 0}, {"b", u32, 32}});
//   auto graph = ReadBtf(btf.Bytes());
#ifndef WATCHSNAP_DEBUG_TYPES_BTF_BUILDER_H_
#define WATCHSNAP_DEBUG_TYPES_BTF_BUILDER_H_

#include <linux/btf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace watchsnap {

class BtfBuilder {
 public:
  struct MemberSpec {
    std::string_view name;
    uint32_t type;
    uint32_t bit_offset;
    uint32_t bitfield_size = 0;
  };
  struct Named {
    std::string_view name;
    int64_t value;
  };
  struct Placed {
    uint32_t variable;
    uint32_t offset;
    uint32_t size;
  };

  // Split BTF: it continues the ids and strings of `base`.
  static BtfBuilder Continuing(const BtfBuilder& base) {
    BtfBuilder split;
    split.next_id_ = base.next_id_;
    split.first_string_ = base.first_string_ + static_cast<uint32_t>(base.strings_.size());
    split.strings_.clear();
    return split;
  }

  uint32_t Int(std::string_view name, uint32_t size, uint32_t encoding = 0, uint32_t bits = 0,
               uint32_t bit_offset = 0) {
    const uint32_t id = Header(name, BTF_KIND_INT, 0, false, size);
    Word(encoding << 24 | bit_offset << 16 | (bits == 0 ? size * 8 : bits));
    return id;
  }
  // Pointers, typedefs, qualifiers, tags, functions: a kind and what it refers to.
  uint32_t Refer(uint32_t kind, uint32_t type, std::string_view name = "") {
    return Header(name, kind, 0, false, type);
  }
  uint32_t Pointer(uint32_t type) { return Refer(BTF_KIND_PTR, type); }
  uint32_t Typedef(std::string_view name, uint32_t type) {
    return Refer(BTF_KIND_TYPEDEF, type, name);
  }
  uint32_t Float(std::string_view name, uint32_t size) {
    return Header(name, BTF_KIND_FLOAT, 0, false, size);
  }
  uint32_t Forward(std::string_view name, bool is_union) {
    return Header(name, BTF_KIND_FWD, 0, is_union, 0);
  }
  uint32_t Array(uint32_t element, uint32_t count) {
    const uint32_t id = Header("", BTF_KIND_ARRAY, 0, false, 0);
    Word(element);
    Word(element);  // the index type; nothing depends on it
    Word(count);
    return id;
  }
  uint32_t Struct(std::string_view name, uint32_t size, std::vector<MemberSpec> members) {
    return Aggregate(BTF_KIND_STRUCT, name, size, members);
  }
  uint32_t Union(std::string_view name, uint32_t size, std::vector<MemberSpec> members) {
    return Aggregate(BTF_KIND_UNION, name, size, members);
  }
  uint32_t Enum(std::string_view name, uint32_t size, bool is_signed, std::vector<Named> values) {
    const uint32_t id =
        Header(name, BTF_KIND_ENUM, static_cast<uint32_t>(values.size()), is_signed, size);
    for (const Named& value : values) {
      Word(String(value.name));
      Word(static_cast<uint32_t>(value.value));
    }
    return id;
  }
  uint32_t Enum64(std::string_view name, bool is_signed, std::vector<Named> values) {
    const uint32_t id =
        Header(name, BTF_KIND_ENUM64, static_cast<uint32_t>(values.size()), is_signed, 8);
    for (const Named& value : values) {
      Word(String(value.name));
      Word(static_cast<uint32_t>(value.value));
      Word(static_cast<uint32_t>(static_cast<uint64_t>(value.value) >> 32));
    }
    return id;
  }
  uint32_t Prototype(uint32_t result, std::vector<MemberSpec> parameters) {
    const uint32_t id = Header("", BTF_KIND_FUNC_PROTO, static_cast<uint32_t>(parameters.size()),
                               false, result);
    for (const MemberSpec& parameter : parameters) {
      Word(String(parameter.name));
      Word(parameter.type);
    }
    return id;
  }
  uint32_t Variable(std::string_view name, uint32_t type) {
    const uint32_t id = Header(name, BTF_KIND_VAR, 0, false, type);
    Word(BTF_VAR_GLOBAL_ALLOCATED);
    return id;
  }
  uint32_t DataSection(std::string_view name, uint32_t size, std::vector<Placed> variables) {
    const uint32_t id = Header(name, BTF_KIND_DATASEC, static_cast<uint32_t>(variables.size()),
                               false, size);
    for (const Placed& variable : variables) {
      Word(variable.variable);
      Word(variable.offset);
      Word(variable.size);
    }
    return id;
  }
  uint32_t DeclTag(std::string_view name, uint32_t type, uint32_t component) {
    const uint32_t id = Header(name, BTF_KIND_DECL_TAG, 0, false, type);
    Word(component);
    return id;
  }

  // A `btf_type` as given.
  uint32_t Header(std::string_view name, uint32_t kind, uint32_t count, bool flag,
                  uint32_t size_or_type) {
    Word(String(name));
    Word(count | kind << 24 | (flag ? 1u << 31 : 0));
    Word(size_or_type);
    return next_id_++;
  }
  void Word(uint32_t value) {
    for (int i = 0; i < 4; ++i) types_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  uint32_t String(std::string_view text) {
    if (text.empty()) return 0;
    const auto at = static_cast<uint32_t>(strings_.size());
    strings_ += text;
    strings_ += '\0';
    return first_string_ + at;
  }

  std::vector<uint8_t> Bytes() const {
    const btf_header header = {.magic = BTF_MAGIC,
                               .version = BTF_VERSION,
                               .flags = 0,
                               .hdr_len = sizeof(btf_header),
                               .type_off = 0,
                               .type_len = static_cast<uint32_t>(types_.size()),
                               .str_off = static_cast<uint32_t>(types_.size()),
                               .str_len = static_cast<uint32_t>(strings_.size())};
    std::vector<uint8_t> bytes(sizeof(header) + types_.size() + strings_.size());
    memcpy(bytes.data(), &header, sizeof(header));
    std::copy(types_.begin(), types_.end(), bytes.begin() + sizeof(header));
    std::copy(strings_.begin(), strings_.end(), bytes.end() - strings_.size());
    return bytes;
  }

 private:
  uint32_t Aggregate(uint32_t kind, std::string_view name, uint32_t size,
                     const std::vector<MemberSpec>& members) {
    bool bitfields = false;
    for (const MemberSpec& member : members) bitfields |= member.bitfield_size != 0;
    const uint32_t id =
        Header(name, kind, static_cast<uint32_t>(members.size()), bitfields, size);
    for (const MemberSpec& member : members) {
      Word(String(member.name));
      Word(member.type);
      Word(member.bit_offset | member.bitfield_size << 24);
    }
    return id;
  }

  uint32_t next_id_ = 1;
  uint32_t first_string_ = 0;
  std::vector<uint8_t> types_;
  std::string strings_ = std::string(1, '\0');
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_BTF_BUILDER_H_
