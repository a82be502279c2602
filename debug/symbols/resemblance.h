// How much one name resembles another: a transposed or missing letter, a wrong case, a missing
// prefix or suffix. For messages to people that offer what they may have meant; nothing is ever
// resolved by it.
//
// Threads: pure functions. Names over 128 bytes resemble nothing, so the work is bounded.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_RESEMBLANCE_H_
#define WATCHSNAP_DEBUG_SYMBOLS_RESEMBLANCE_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace watchsnap {

// Insertions, deletions, substitutions and swaps of neighbours that make `a` into `b`, or
// `limit + 1` where it takes more than `limit`.
size_t EditDistance(std::string_view a, std::string_view b, size_t limit);

// Lower is nearer; nullopt where `name` is not worth offering for `wanted`.
std::optional<size_t> Resemblance(std::string_view wanted, std::string_view name);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_RESEMBLANCE_H_
