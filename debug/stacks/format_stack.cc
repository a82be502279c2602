#include "debug/stacks/format_stack.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {

std::string FormatFrame(const StackFrame& frame, const KernelSymbols& symbols, uint64_t slide) {
  const std::optional<TextSymbol> symbol = symbols.Symbolize(frame.lookup_pc() - slide);
  if (!symbol.has_value()) return absl::StrFormat("%#x", frame.pc);
  return absl::StrFormat("%s+0x%x", symbol->name, frame.pc - slide - symbol->address);
}

std::string FormatStack(const UnwoundStack& stack, const KernelSymbols& symbols, uint64_t slide) {
  std::string text;
  for (const StackFrame& frame : stack.frames) {
    if (frame.kind == FrameKind::kInterrupted) text += "--- interrupted ---\n";
    absl::StrAppend(&text, FormatFrame(frame, symbols, slide), "\n");
  }
  absl::StrAppend(&text, "[", StackEndName(stack.end));
  if (stack.end == StackEnd::kUserSpace) absl::StrAppendFormat(&text, " at %#x", stack.user_pc);
  if (!stack.detail.empty()) absl::StrAppend(&text, ": ", stack.detail);
  absl::StrAppend(&text, "]\n");
  return text;
}

std::vector<std::string> FunctionNames(const UnwoundStack& stack, const KernelSymbols& symbols,
                                       uint64_t slide) {
  std::vector<std::string> names;
  names.reserve(stack.frames.size());
  for (const StackFrame& frame : stack.frames) {
    const std::optional<TextSymbol> symbol = symbols.Symbolize(frame.lookup_pc() - slide);
    names.emplace_back(symbol.has_value() ? symbol->name : "");
  }
  return names;
}

}  // namespace watchsnap
