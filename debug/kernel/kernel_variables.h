// KernelVariables: variables of the running kernel by name: where they are, how long, of which type.
//
//   KernelVariables variables({.symbols = symbols, .slide = slide, .types = btf, .dwarf = dwarf});
//   ASSIGN_OR_RETURN(const KernelVariable* jiffies, variables.Find("jiffies_64"));
//
// A name is matched byte for byte in the symbol table, as that of a watch is; more can be read than
// watched: per-CPU variables, and those of any alignment. Types come from BTF, which has the per-CPU
// ones, else from DWARF, which costs up to some 100 ms a name: nothing for a frozen guest. A variable
// without a type is found all the same, and says why it has none.
//
// Threads: Find from one at a time; what it returned is immutable and stays as long as this does.
// Errors: NotFound, with near misses, for a name that is not there; InvalidArgument for what is no
// variable, or for a name of several.
#ifndef WATCHSNAP_DEBUG_KERNEL_KERNEL_VARIABLES_H_
#define WATCHSNAP_DEBUG_KERNEL_KERNEL_VARIABLES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/dwarf_types.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct KernelVariable {
  std::string name;
  uint64_t address = 0;  // at run time; of a per-CPU variable its per-CPU address
  uint64_t bytes = 0;
  bool per_cpu = false;
  // Null: not known, and `why_no_type`.
  std::shared_ptr<const TypeGraph> graph;
  TypeId type = kVoidType;
  std::string why_no_type;
  // Of a pointer to a struct or union whose members are known.
  struct Pointee {
    std::shared_ptr<const TypeGraph> graph;
    TypeId type = kVoidType;
    uint64_t bytes = 0;
  };
  std::optional<Pointee> pointee;
};

// Whether `name` is a variable of that kernel; the error is the one that Find would give. Cheap.
absl::Status CheckKernelVariable(const KernelSymbols& symbols, std::string_view name);

class KernelVariables {
 public:
  struct Sources {
    std::shared_ptr<const KernelSymbols> symbols;
    uint64_t slide = 0;
    std::shared_ptr<const TypeGraph> types;  // null: the kernel has no BTF
    const DwarfTypes* dwarf = nullptr;       // null: nor DWARF
  };
  explicit KernelVariables(Sources sources);

  // Slow at a name's first time.
  absl::StatusOr<const KernelVariable*> Find(std::string_view name);

 private:
  void AddType(uint64_t link_address, KernelVariable& variable) const;
  void AddPointee(KernelVariable& variable) const;

  const Sources sources_;
  bool per_cpu_moves_ = true;  // with KASLR
  std::map<std::string, std::unique_ptr<const KernelVariable>, std::less<>> found_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_KERNEL_VARIABLES_H_
