// A member of a kernel struct, found by name once and read often: where it is and how wide. For walks
// over kernel structures, frozen and later over the evidence.
//
//   StructFields fields(types, "struct task_struct");
//   const StructField pid = fields.Find("pid");              // once; kernels differ
//   int64_t value;
//   if (pid.LoadSigned(reader, task, value)) …               // allocates nothing
//
// A kernel that lacks the struct or the member gives a field that is not there: its loads say no, and
// `StructFields::missing` says what was not found. Nothing else depends on it.
//
// Threads: StructField is a value. Units: bytes; addresses are run-time KVAs.
#ifndef WATCHSNAP_DEBUG_KERNEL_STRUCT_FIELD_H_
#define WATCHSNAP_DEBUG_KERNEL_STRUCT_FIELD_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct StructField {
  static constexpr uint32_t kAbsent = ~uint32_t{0};
  uint32_t offset = kAbsent;
  uint32_t size = 0;  // of an array: of all of it; of a flexible one 0

  bool found() const { return offset != kAbsent; }
  uint64_t end() const { return uint64_t{offset} + size; }

  // Numbers and pointers of 1 to 8 bytes.
  bool Load(MemoryReader& reader, uint64_t object, uint64_t& value) const;
  bool LoadSigned(MemoryReader& reader, uint64_t object, int64_t& value) const;
  // The same out of the object's first bytes, which were read at once.
  bool From(absl::Span<const uint8_t> object, uint64_t& value) const;
};

class StructFields {
 public:
  // `c_name` as in TypeGraph::Find; `types` is only used here and in Find.
  StructFields(const TypeGraph& types, std::string_view c_name);
  // Of a type that is known by its id.
  StructFields(const TypeGraph& types, TypeId type);

  bool found() const { return found_; }
  uint64_t size() const { return size_; }
  TypeId type() const { return type_; }

  // The first of `paths` that the kernel has.
  StructField Find(std::string_view path) { return FindFirst({path}); }
  StructField FindFirst(std::initializer_list<std::string_view> paths);

  // "struct task_struct has no tgid": one for each field that was not found.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  const TypeGraph& types_;
  const std::string name_;
  TypeId type_ = kVoidType;
  uint64_t size_ = 0;
  bool found_ = false;
  std::vector<std::string> missing_;
};

// The type that the pointer member `path` of `type` points to; void where there is none.
TypeId PointeeOf(const TypeGraph& types, TypeId type, std::string_view path);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_STRUCT_FIELD_H_
