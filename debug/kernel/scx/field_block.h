// Members of one struct that are read together: one read of the guest for all of them.
//
//   FieldBlock entity(types, "struct sched_ext_entity");
//   const FieldBlock::Slot weight = entity.Add({"weight"});        // once; kernels differ
//   FieldBlock::Copy copy;
//   entity.Read(reader, address, copy);                            // allocates nothing
//   std::optional<uint64_t> value = entity.Get(copy, weight);
//
// A member that the kernel lacks has no value; `missing` names it, unless it was added as one that only
// some kernels have. Bytes that cannot be read have no values.
// Threads: immutable once the members are added. Units: bytes, run-time KVAs.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_FIELD_BLOCK_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_FIELD_BLOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "debug/kernel/struct_field.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

class FieldBlock {
 public:
  using Slot = size_t;
  static constexpr size_t kMaxBytes = 1024;
  struct Copy {
    std::array<uint8_t, kMaxBytes> bytes = {};
    bool known = false;
  };
  enum class Presence { kExpected, kOptional };

  // `types` is only used here and in Add.
  FieldBlock(const TypeGraph& types, std::string_view c_name,
             Presence presence = Presence::kExpected);

  // The first of `paths` that the kernel has, wherever in the struct, kMaxBytes from the others at most.
  Slot Add(std::initializer_list<std::string_view> paths, Presence presence = Presence::kExpected);

  // False where the bytes cannot be read, or no member was found.
  bool Read(MemoryReader& reader, uint64_t object, Copy& copy) const;
  bool found() const { return end_ != 0; }
  const StructField& field(Slot slot) const { return fields_[slot]; }

  std::optional<uint64_t> Get(const Copy& copy, Slot slot) const;
  std::optional<int64_t> GetSigned(const Copy& copy, Slot slot) const;
  // The bytes of a member of any size; empty where there are none.
  absl::Span<const uint8_t> GetBytes(const Copy& copy, Slot slot) const;

  // "struct scx_rq has no cpu_released": of the expected ones.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  const TypeGraph& types_;
  const std::string name_;
  std::vector<StructField> fields_;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_FIELD_BLOCK_H_
