#include "debug/gdb_server/commands.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "debug/gdb_server/hex.h"
#include "debug/gdb_server/packet.h"

namespace watchsnap::gdb {
namespace {

// Cuts `text` at the first `separator`: returns what is before it and leaves what is behind.
std::optional<std::string_view> TakeUntil(char separator, std::string_view& text) {
  const size_t at = text.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at + 1);
  return taken;
}

}  // namespace

std::optional<MemoryOperands> ParseMemory(std::string_view text) {
  MemoryOperands operands;
  const std::optional<std::string_view> address = TakeUntil(',', text);
  if (!address.has_value()) return std::nullopt;
  std::string_view length = text;
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    length = text.substr(0, colon);
    operands.data = text.substr(colon + 1);
  }
  const std::optional<uint64_t> from = NumberOfHex(*address);
  const std::optional<uint64_t> count = NumberOfHex(length);
  if (!from.has_value() || !count.has_value() || *count > kMaxPacket) return std::nullopt;
  operands.address = *from;
  operands.length = *count;
  return operands;
}

std::optional<BreakpointOperands> ParseBreakpoint(std::string_view text) {
  const std::optional<std::string_view> type = TakeUntil(',', text);
  const std::optional<std::string_view> address = TakeUntil(',', text);
  if (!type.has_value() || !address.has_value()) return std::nullopt;
  if (type->size() != 1 || (*type)[0] < '0' || (*type)[0] > '4') return std::nullopt;
  const std::optional<uint64_t> at = NumberOfHex(*address);
  const std::optional<uint64_t> kind = NumberOfHex(text);
  if (!at.has_value() || !kind.has_value()) return std::nullopt;
  return BreakpointOperands{static_cast<BreakpointType>((*type)[0] - '0'), *at, *kind};
}

std::optional<int> ParseThread(std::string_view text) {
  if (text == "-1") return kAllThreads;
  const std::optional<uint64_t> number = NumberOfHex(text);
  if (!number.has_value() || *number > std::numeric_limits<int>::max()) return std::nullopt;
  return static_cast<int>(*number);
}

std::optional<std::vector<RunAction>> ParseVCont(std::string_view text, int vcpus) {
  if (!absl::ConsumePrefix(&text, ";")) return std::nullopt;
  std::vector<RunAction> actions(vcpus, RunAction::kStay);
  std::vector<bool> decided(vcpus, false);
  for (std::string_view part : absl::StrSplit(text, ';')) {
    if (part.empty()) return std::nullopt;
    int thread = kAllThreads;
    std::string_view what = part;
    if (const size_t colon = part.find(':'); colon != std::string_view::npos) {
      const std::optional<int> named = ParseThread(part.substr(colon + 1));
      if (!named.has_value()) return std::nullopt;
      thread = *named == kAnyThread ? 1 : *named;
      if (thread != kAllThreads && thread > vcpus) return std::nullopt;
      what = part.substr(0, colon);
    }
    const char letter = what.empty() ? 0 : what[0];
    const bool with_signal = letter == 'C' || letter == 'S';
    if (with_signal ? !NumberOfHex(what.substr(1)).has_value() : what.size() != 1) {
      return std::nullopt;
    }
    RunAction action;
    if (letter == 'c' || letter == 'C') {
      action = RunAction::kContinue;
    } else if (letter == 's' || letter == 'S') {
      action = RunAction::kStep;
    } else {
      return std::nullopt;
    }
    for (int i = 0; i < vcpus; ++i) {
      if (decided[i] || (thread != kAllThreads && thread != i + 1)) continue;
      actions[i] = action;
      decided[i] = true;
    }
  }
  return actions;
}

std::optional<TransferOperands> ParseTransfer(std::string_view text) {
  const std::optional<std::string_view> object = TakeUntil(':', text);
  const std::optional<std::string_view> verb = TakeUntil(':', text);
  const std::optional<std::string_view> annex = TakeUntil(':', text);
  const std::optional<std::string_view> offset = TakeUntil(',', text);
  if (!object || !verb || !annex || !offset || *verb != "read") return std::nullopt;
  const std::optional<uint64_t> from = NumberOfHex(*offset);
  const std::optional<uint64_t> length = NumberOfHex(text);
  if (!from.has_value() || !length.has_value()) return std::nullopt;
  return TransferOperands{*object, *annex, *from, std::min<uint64_t>(*length, kMaxPacket)};
}

}  // namespace watchsnap::gdb
