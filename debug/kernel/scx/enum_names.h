// The names that the kernel's types give to numbers: of an enum, and of the bits of flags.
//
//   EnumNames kinds(types, "enum scx_exit_kind");
//   kinds.NameOf(1025)          // "SCX_EXIT_ERROR_BPF"; empty for a number without a name
//   flags.FlagsOf(3)            // "SCX_RQ_ONLINE|SCX_RQ_CAN_STOP_TICK"; what has no name as "0x80"
//
// Threads: immutable. Ownership: keeps copies. A kernel without the enum has no names, and says so.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_ENUM_NAMES_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_ENUM_NAMES_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/types/type_graph.h"

namespace watchsnap {

class EnumNames {
 public:
  EnumNames() = default;
  // The first of these enums that the kernel has.
  EnumNames(const TypeGraph& types, std::initializer_list<std::string_view> c_names);
  EnumNames(const TypeGraph& types, std::string_view c_name) : EnumNames(types, {c_name}) {}

  bool found() const { return !names_.empty(); }
  std::string_view NameOf(uint64_t value) const;
  // The value of `name`.
  std::optional<uint64_t> ValueOf(std::string_view name) const;
  // Names of single bits, joined by "|"; "0" for none.
  std::string FlagsOf(uint64_t value) const;

 private:
  std::vector<std::pair<std::string, uint64_t>> names_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_ENUM_NAMES_H_
