// What one compilation unit says about its code, as plain data: its line table, its functions, and
// what was inlined into them. Built by unit_decoder.h; asked by SourceLines.
//
// Threads: immutable once built. Ownership: self-contained; nothing points into the file.
#ifndef WATCHSNAP_DEBUG_LINES_UNIT_LINES_H_
#define WATCHSNAP_DEBUG_LINES_UNIT_LINES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "debug/lines/source_frame.h"

namespace watchsnap {

struct UnitLines {
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Row {
    uint64_t address = 0;
    uint32_t file = 0;
    uint32_t line = 0;
    uint32_t column = 0;
  };
  // Rows of ascending addresses that hold up to `end`.
  struct Sequence {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint32_t first_row = 0;
    uint32_t row_count = 0;
  };
  // A function, or one place where a function was inlined.
  struct Scope {
    uint32_t name = kNone;    // in `names`
    uint32_t parent = kNone;  // the scope it was inlined into; kNone: a function of its own
    uint32_t depth = 0;
    uint32_t call_file = 0;   // where the parent calls it
    uint32_t call_line = 0;
    uint32_t call_column = 0;
  };
  struct ScopeRange {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint32_t scope = 0;
  };
  // One stretch of a function that is not inlined, and the ranges of all that is inside it.
  struct Function {
    uint64_t begin = 0;
    uint64_t end = 0;
    uint32_t first_range = 0;
    uint32_t end_range = 0;
  };
  struct Name {
    std::string name;
    std::string linkage_name;
  };
  struct File {
    std::string path;
    size_t build_prefix = 0;
  };

  std::vector<Row> rows;
  std::vector<Sequence> sequences;  // by begin
  std::vector<Scope> scopes;
  std::vector<ScopeRange> ranges;
  std::vector<Function> functions;
  std::vector<Name> names;
  std::vector<File> files;  // by their number in the line table

  // Innermost first. Empty where the unit has neither a line nor a function for `address`.
  std::vector<SourceFrame> Find(uint64_t address) const;
  // Memory it takes, about.
  size_t ByteSize() const;

 private:
  const Row* FindRow(uint64_t address) const;
  uint32_t FindScope(uint64_t address) const;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_UNIT_LINES_H_
