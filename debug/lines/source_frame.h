// One line of "where is this address": a function, and the place in its source.
#ifndef WATCHSNAP_DEBUG_LINES_SOURCE_FRAME_H_
#define WATCHSNAP_DEBUG_LINES_SOURCE_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace watchsnap {

struct SourceFrame {
  // As the source names it: no ".isra.0" or ".cold" of the compiler. Empty where the debug
  // information knows none (some assembly): the symbol table then has what there is.
  std::string function;
  // The symbol's name where the language makes another of it (Rust: "_RNv…"), which is what
  // addr2line prints; empty for C.
  std::string linkage_name;
  // As addr2line prints it, with the directory of the build. Empty where it is not known.
  std::string file;
  uint32_t line = 0;    // 0: not known
  uint32_t column = 0;  // counted from 1; 0: not known
  // So many bytes at the start of `file` are the directory the kernel was built in.
  size_t build_prefix = 0;

  // The path in the kernel's source tree, "kernel/time/timekeeping.c": without the directory of
  // the build, and without what "." and ".." make longer. A file from elsewhere (a compiler's own)
  // keeps its whole path.
  std::string KernelPath() const;

  friend bool operator==(const SourceFrame&, const SourceFrame&) = default;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_LINES_SOURCE_FRAME_H_
