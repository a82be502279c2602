// Names in a symbol table that resemble one that is not there: a transposed or missing letter, a
// wrong case, a missing prefix or suffix. For messages to people; nothing is ever resolved by it.
//
// Only data is offered (STT_OBJECT), because that is what can be watched. Cost: one pass over the
// table, about 20 ms for 230,000 symbols. Threads: a pure function.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_NEAR_MISSES_H_
#define WATCHSNAP_DEBUG_SYMBOLS_NEAR_MISSES_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "debug/symbols/symbol_table.h"

namespace watchsnap {

// Up to `count` distinct names, best first; never `name` itself.
std::vector<std::string> FindNearMisses(const SymbolTable& table, std::string_view name,
                                        size_t count);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_NEAR_MISSES_H_
