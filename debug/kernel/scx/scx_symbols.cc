#include "debug/kernel/scx/scx_symbols.h"

#include <elf.h>

#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace watchsnap {
namespace {

struct Wanted {
  std::string_view name;
  uint64_t ScxSymbols::*place;
};

// Where a variable was renamed both names stand here.
constexpr Wanted kWanted[] = {
    {"scx_enable_state_var", &ScxSymbols::enable_state},
    {"scx_ops_enable_state_var", &ScxSymbols::enable_state},
    {"scx_root", &ScxSymbols::root},
    {"scx_sched_all", &ScxSymbols::all},
    {"scx_tasks", &ScxSymbols::tasks},
    {"__scx_switched_all", &ScxSymbols::switched_all},
    {"runqueues", &ScxSymbols::runqueues},
    {"nr_node_ids", &ScxSymbols::nr_node_ids},
    {"scx_bypass_depth", &ScxSymbols::bypass_depth},
    {"scx_ops_bypass_depth", &ScxSymbols::bypass_depth},
    {"scx_ops", &ScxSymbols::ops},
    {"scx_exit_kind", &ScxSymbols::exit_kind},
    {"scx_exit_info", &ScxSymbols::exit_info},
    {"dsq_hash", &ScxSymbols::dsq_hash},
    {"global_dsqs", &ScxSymbols::global_dsqs},
};

// 0 unless the name stands for one variable: `dsq_hash` may be others' too.
uint64_t OnlyVariable(const std::vector<SymbolEntry>& entries) {
  uint64_t address = 0;
  for (const SymbolEntry& entry : entries) {
    if (entry.place != SymbolEntry::Place::kSection || entry.type != STT_OBJECT) continue;
    if (address != 0 && address != entry.address) return 0;
    address = entry.address;
  }
  return address;
}

}  // namespace

absl::StatusOr<ScxSymbols> ScxSymbols::Find(const KernelSymbols& symbols, uint64_t slide) {
  std::vector<std::string_view> names;
  for (const Wanted& wanted : kWanted) names.push_back(wanted.name);
  const std::vector<std::vector<SymbolEntry>> entries = symbols.ResolveMany(names);
  ScxSymbols found;
  for (size_t i = 0; i < names.size(); ++i) {
    const uint64_t address = OnlyVariable(entries[i]);
    if (address != 0) found.*kWanted[i].place = address + slide;
  }
  if (found.enable_state == 0 || (found.root == 0 && found.ops == 0)) {
    return absl::NotFoundError("the kernel has no sched_ext");
  }
  return found;
}

}  // namespace watchsnap
