#include "debug/lines/unit_lines.h"

#include <algorithm>

namespace watchsnap {

const UnitLines::Row* UnitLines::FindRow(uint64_t address) const {
  // Sequences do not overlap in what a linker writes; where they do, the later start is nearer.
  auto sequence =
      std::upper_bound(sequences.begin(), sequences.end(), address,
                       [](uint64_t value, const Sequence& s) { return value < s.begin; });
  while (sequence != sequences.begin()) {
    --sequence;
    if (address >= sequence->end) continue;
    const auto first = rows.begin() + sequence->first_row;
    const auto after =
        std::upper_bound(first, first + sequence->row_count, address,
                         [](uint64_t value, const Row& row) { return value < row.address; });
    if (after != first) return &*std::prev(after);
  }
  return nullptr;
}

uint32_t UnitLines::FindScope(uint64_t address) const {
  uint32_t best = kNone;
  uint32_t seen = kNone;
  for (const Function& function : functions) {
    if (address < function.begin || address >= function.end) continue;
    if (function.first_range == seen) continue;  // another stretch of the function just looked at
    seen = function.first_range;
    for (uint32_t i = function.first_range; i < function.end_range; ++i) {
      const ScopeRange& range = ranges[i];
      if (address < range.begin || address >= range.end) continue;
      if (best == kNone || scopes[range.scope].depth >= scopes[best].depth) best = range.scope;
    }
  }
  return best;
}

std::vector<SourceFrame> UnitLines::Find(uint64_t address) const {
  std::vector<SourceFrame> frames;
  const auto push = [&](uint32_t scope, uint32_t file, uint32_t line, uint32_t column) {
    SourceFrame& frame = frames.emplace_back();
    if (scope != kNone && scopes[scope].name != kNone) {
      const Name& name = names[scopes[scope].name];
      frame.function = name.name;
      frame.linkage_name = name.linkage_name;
    }
    if (file < files.size()) {
      frame.file = files[file].path;
      frame.build_prefix = files[file].build_prefix;
    }
    frame.line = line;
    frame.column = column;
  };
  const Row* row = FindRow(address);
  uint32_t scope = FindScope(address);
  if (row == nullptr && scope == kNone) return frames;
  if (row != nullptr) {
    push(scope, row->file, row->line, row->column);
  } else {
    push(scope, kNone, 0, 0);
  }
  // A parent always comes before what is inside it, so this ends.
  while (scope != kNone && scopes[scope].parent != kNone) {
    const Scope& inlined = scopes[scope];
    push(inlined.parent, inlined.call_file, inlined.call_line, inlined.call_column);
    scope = inlined.parent;
  }
  return frames;
}

size_t UnitLines::ByteSize() const {
  size_t bytes = sizeof(*this) + rows.capacity() * sizeof(Row) +
                 sequences.capacity() * sizeof(Sequence) + scopes.capacity() * sizeof(Scope) +
                 ranges.capacity() * sizeof(ScopeRange) + functions.capacity() * sizeof(Function) +
                 names.capacity() * sizeof(Name) + files.capacity() * sizeof(File);
  for (const Name& name : names) bytes += name.name.capacity() + name.linkage_name.capacity();
  for (const File& file : files) bytes += file.path.capacity();
  return bytes;
}

}  // namespace watchsnap
