// What `watchsnap symbols VMLINUX NAME…` prints: for each name what stands in the symbol table,
// and whether it can be watched or why not.
//
//   ASSIGN_OR_RETURN(auto kernel, KernelSymbols::Open(path));
//   SymbolsReport report = DescribeSymbols(*kernel, names);
//   std::cout << (json ? report.json : report.text);
//
// Threads: a pure function. Errors: none of its own; an unknown name is part of the report.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_SYMBOLS_REPORT_H_
#define WATCHSNAP_DEBUG_SYMBOLS_SYMBOLS_REPORT_H_

#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

struct SymbolsReport {
  std::string text;  // a block a name, ends with a newline
  // {"schema":"watchsnap.symbols/1","vmlinux":…,"build_id":…,"symbols":[{"name":…,"entries":[
  //   {"address":"0x…","size":n,"section":…,"alignment":n,"type":…}],"watchable":b,
  //   "watched_bytes":n | "reason":…,"near_misses":[…]}]} and a newline
  std::string json;
  bool all_watchable = true;
};

SymbolsReport DescribeSymbols(const KernelSymbols& kernel,
                              absl::Span<const std::string_view> names);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_SYMBOLS_REPORT_H_
