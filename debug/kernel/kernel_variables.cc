#include "debug/kernel/kernel_variables.h"

#include <elf.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

constexpr std::string_view kPerCpuSection = ".data..percpu";
// Of a symbol that has no size (labels of assembly and linker scripts) and no type.
constexpr uint64_t kWord = 8;

// A variable of this name in BTF; those that are static may share it.
std::optional<TypeId> FindBtfVariable(const TypeGraph& types, std::string_view name,
                                      uint64_t symbol_bytes) {
  const std::vector<TypeId> variables = types.FindAll(TypeKind::kVariable, name);
  std::optional<TypeId> found;
  for (const TypeId variable : variables) {
    const TypeId type = types.type(variable).target;
    if (types.SizeOf(type).value_or(0) != symbol_bytes) continue;
    if (found.has_value()) return std::nullopt;
    found = type;
  }
  return found;
}

struct Place {
  uint64_t link_address = 0;
  uint64_t bytes = 0;
  bool per_cpu = false;
};

absl::StatusOr<Place> Locate(const KernelSymbols& symbols, std::string_view name) {
  const absl::StatusOr<DataSymbol> watchable = symbols.ResolveData(name);
  if (watchable.ok()) {
    return Place{.link_address = watchable->address, .bytes = watchable->size};
  }
  // What cannot be watched may still be read, if it is one place of the kernel's data.
  std::vector<SymbolEntry> entries = symbols.Lookup(name);
  std::erase_if(entries, [](const SymbolEntry& entry) {
    return entry.place != SymbolEntry::Place::kSection;
  });
  if (entries.empty()) return watchable.status();
  for (const SymbolEntry& entry : entries) {
    if (entry.address != entries[0].address) return watchable.status();
  }
  const SymbolEntry& entry = *std::max_element(
      entries.begin(), entries.end(),
      [](const SymbolEntry& a, const SymbolEntry& b) { return a.size < b.size; });
  if ((entry.type != STT_OBJECT && entry.type != STT_NOTYPE) ||
      (entry.section_flags & SHF_ALLOC) == 0 || absl::StartsWith(entry.section, ".init")) {
    return watchable.status();
  }
  const bool per_cpu = absl::StartsWith(entry.section, kPerCpuSection);
  // Labels are code more often than data.
  if (entry.type == STT_NOTYPE && !per_cpu) return watchable.status();
  return Place{.link_address = entry.address, .bytes = entry.size, .per_cpu = per_cpu};
}

}  // namespace

absl::Status CheckKernelVariable(const KernelSymbols& symbols, std::string_view name) {
  return Locate(symbols, name).status();
}

KernelVariables::KernelVariables(Sources sources) : sources_(std::move(sources)) {
  // Until 6.14 the section was linked at 0 and its symbols were offsets, which KASLR does not move.
  const ElfSection* section = sources_.symbols->elf().FindSection(kPerCpuSection);
  per_cpu_moves_ = section != nullptr && section->address != 0;
}

void KernelVariables::AddType(uint64_t link_address, KernelVariable& variable) const {
  if (sources_.types != nullptr) {
    if (const auto type = FindBtfVariable(*sources_.types, variable.name, variable.bytes);
        type.has_value()) {
      variable.graph = sources_.types;
      variable.type = *type;
      return;
    }
  }
  if (sources_.dwarf == nullptr) {
    variable.why_no_type = "its type is not in the kernel's .BTF, and there is no DWARF";
    return;
  }
  absl::StatusOr<DwarfType> type = sources_.dwarf->FindVariable(variable.name, link_address);
  if (!type.ok()) {
    variable.why_no_type = std::string(type.status().message());
    return;
  }
  const absl::StatusOr<uint64_t> bytes = type->graph->SizeOf(type->id);
  if (!bytes.ok() || *bytes == 0) {
    variable.why_no_type = "its type has no size";
    return;
  }
  if (variable.bytes != 0 && *bytes != variable.bytes) {
    variable.why_no_type = absl::StrCat("the symbol has ", variable.bytes, " bytes and its type, ",
                                        type->graph->Describe(type->id), ", ", *bytes);
    return;
  }
  variable.graph = std::move(type->graph);
  variable.type = type->id;
  variable.bytes = *bytes;
}

void KernelVariables::AddPointee(KernelVariable& variable) const {
  if (variable.graph == nullptr) return;
  const TypeGraph& graph = *variable.graph;
  const absl::StatusOr<TypeId> pointer = graph.Resolve(variable.type);
  if (!pointer.ok() || graph.type(*pointer).kind != TypeKind::kPointer) return;
  const absl::StatusOr<TypeId> target = graph.Resolve(graph.type(*pointer).target);
  if (!target.ok()) return;
  const Type& type = graph.type(*target);
  KernelVariable::Pointee pointee;
  if (type.IsStructOrUnion()) {
    pointee.graph = variable.graph;
    pointee.type = *target;
  } else if (type.kind == TypeKind::kForward && !type.name().empty()) {
    const std::string name =
        absl::StrCat(type.is_union ? "union " : "struct ", type.name());
    if (sources_.types != nullptr) {
      if (const absl::StatusOr<TypeId> found = sources_.types->Find(name); found.ok()) {
        pointee.graph = sources_.types;
        pointee.type = *found;
      }
    }
    if (pointee.graph == nullptr && sources_.dwarf != nullptr) {
      if (absl::StatusOr<DwarfType> found = sources_.dwarf->FindType(name); found.ok()) {
        pointee.graph = std::move(found->graph);
        pointee.type = found->id;
      }
    }
  }
  if (pointee.graph == nullptr) return;
  pointee.bytes = pointee.graph->SizeOf(pointee.type).value_or(0);
  if (pointee.bytes != 0) variable.pointee = std::move(pointee);
}

absl::StatusOr<const KernelVariable*> KernelVariables::Find(std::string_view name) {
  if (const auto known = found_.find(name); known != found_.end()) return known->second.get();
  const absl::StatusOr<Place> place = Locate(*sources_.symbols, name);
  if (!place.ok()) return place.status();
  KernelVariable variable;
  variable.name = std::string(name);
  variable.address =
      place->link_address + (place->per_cpu && !per_cpu_moves_ ? 0 : sources_.slide);
  variable.bytes = place->bytes;
  variable.per_cpu = place->per_cpu;
  AddType(place->link_address, variable);
  AddPointee(variable);
  if (variable.bytes == 0) variable.bytes = kWord;
  auto kept = std::make_unique<const KernelVariable>(std::move(variable));
  return found_.emplace(std::string(name), std::move(kept)).first->second.get();
}

}  // namespace watchsnap
