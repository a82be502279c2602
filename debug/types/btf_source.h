// BtfSource: the types of one .BTF section, decoded from its bytes when a TypeGraph asks for them.
//
// The bytes may be anything: Create walks all of them once, and Decode checks what it reads each time.
// Threads: immutable. Ownership: borrows the bytes, which outlive it; keeps the base.
// Source of the format: the kernel's Documentation/bpf/btf.rst and include/uapi/linux/btf.h.
#ifndef WATCHSNAP_DEBUG_TYPES_BTF_SOURCE_H_
#define WATCHSNAP_DEBUG_TYPES_BTF_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "debug/types/type_graph.h"
#include "debug/types/type_source.h"

namespace watchsnap {

class BtfSource : public TypeSource {
 public:
  // `name` for messages; `base` of split BTF, or null. Errors as in btf_reader.h.
  static absl::StatusOr<std::unique_ptr<const BtfSource>> Create(
      absl::Span<const uint8_t> bytes, std::string name, std::shared_ptr<const TypeGraph> base);

  std::string_view strings() const { return strings_; }

  TypeId count() const override { return count_; }
  absl::Status Decode(TypeId first, absl::Span<Type> types, TypeArena& arena) const override;
  void ForEachName(
      absl::FunctionRef<void(TypeId, TypeKind, std::string_view name)> visit) const override;

 private:
  // One type's record, of which all bytes lie in the section.
  struct Record {
    TypeId id;
    uint32_t kind;   // BTF_KIND_…
    uint32_t count;  // vlen
    bool flag;
    uint32_t name_offset;
    uint32_t size_or_type;
    const uint8_t* detail;
    uint64_t bytes;
  };
  BtfSource(std::string name, std::shared_ptr<const TypeGraph> base)
      : name_(std::move(name)), base_(std::move(base)) {}

  template <typename... Args>
  absl::Status Damaged(const absl::FormatSpec<Args...>& format, const Args&... args) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, " is damaged: ", absl::StrFormat(format, args...)));
  }
  TypeId first_id() const { return base_ == nullptr ? 0 : base_->size(); }
  absl::Status ReadHeader(absl::Span<const uint8_t> bytes);
  absl::Status FindTypes();
  absl::StatusOr<Record> RecordAt(uint64_t offset, TypeId id) const;
  absl::Status DecodeOne(const Record& record, Type& type, TypeArena& arena) const;
  absl::Status DecodeInt(const Record& record, Type& type) const;
  absl::Status DecodeMembers(const Record& record, Type& type, TypeArena& arena) const;
  absl::Status DecodeEnumerators(const Record& record, Type& type, TypeArena& arena) const;
  absl::Status NameAt(uint32_t offset, TypeId id, const char*& name) const;

  const std::string name_;
  const std::shared_ptr<const TypeGraph> base_;
  absl::Span<const uint8_t> types_;
  std::string_view strings_;
  TypeId count_ = 0;
  std::vector<uint32_t> blocks_;  // where each TypeGraph::kBlock of types begins in types_
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_BTF_SOURCE_H_
