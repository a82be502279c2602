#include "debug/decode/writer_decoder.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/decode/store_shape.h"

namespace watchsnap {
namespace {

constexpr uint64_t kPageSize = 4096;
// How far before next_pc the decoding without a function start begins at most. x86 code falls into
// step with itself after a handful of instructions, so the far starts agree on what is near.
constexpr uint64_t kVoteFarthest = 96;
constexpr uint64_t kVoteNearest = 32;

// The guest's text from `start` up to a little past next_pc.
struct Text {
  uint64_t start = 0;
  std::vector<uint8_t> bytes;

  absl::Span<const uint8_t> From(uint64_t address) const {
    return absl::MakeConstSpan(bytes).subspan(address - start);
  }
  uint64_t end() const { return start + bytes.size(); }
};

// [wanted, next_pc + 15), or of that the longest readable part around next_pc, page by page.
Text ReadText(uint64_t wanted, uint64_t next_pc, TextReader reader) {
  Text text;
  text.start = wanted;
  text.bytes.resize(next_pc - wanted);
  uint64_t page = wanted;
  if (!reader(wanted, absl::MakeSpan(text.bytes)).ok()) {
    text = {.start = next_pc, .bytes = {}};
    page = next_pc;
  }
  while (page > wanted) {
    const uint64_t start = std::max(wanted, (page - 1) & ~(kPageSize - 1));
    std::vector<uint8_t> piece(page - start);
    if (!reader(start, absl::MakeSpan(piece)).ok()) break;
    piece.insert(piece.end(), text.bytes.begin(), text.bytes.end());
    text.bytes = std::move(piece);
    text.start = page = start;
  }
  // Behind next_pc a REP may stand; up to the end of the page if the next one is not there.
  std::vector<uint8_t> tail(kMaxInstructionLength);
  if (!reader(next_pc, absl::MakeSpan(tail)).ok()) {
    const uint64_t page_end = (next_pc & ~(kPageSize - 1)) + kPageSize;
    tail.resize(std::min<uint64_t>(tail.size(), page_end - next_pc));
    if (!reader(next_pc, absl::MakeSpan(tail)).ok()) tail.clear();
  }
  text.bytes.insert(text.bytes.end(), tail.begin(), tail.end());
  return text;
}

// Decodes from `start`; the instruction that ends exactly at `next_pc`, if the stream comes by.
std::optional<uint64_t> InstructionBefore(const Text& text, uint64_t start, uint64_t next_pc) {
  for (uint64_t at = start; at < next_pc;) {
    const size_t length = InstructionLength(text.From(at));
    if (length == 0) return std::nullopt;
    if (at + length == next_pc) return at;
    at += length;
  }
  return std::nullopt;
}

// A string store with a repeat prefix that begins at next_pc: it traps between iterations.
bool RepAt(const Text& text, uint64_t next_pc) {
  if (next_pc >= text.end()) return false;
  const auto shape = DecodeStoreShape(text.From(next_pc), next_pc);
  return shape.has_value() && shape->rep;
}

bool Overlaps(const StoreShape& shape, const WriterTrap& trap) {
  return *shape.address < trap.watched_address + trap.watched_length &&
         trap.watched_address < *shape.address + std::max(shape.store_bytes, 1u);
}

// Whether an instruction with this shape, ending at next_pc, can have made the watched store.
// If not, `why` says so. A call's store traps at its target, so that one ending here did not.
bool CanBeTheWriter(const std::optional<StoreShape>& shape, const WriterTrap& trap,
                    std::string& why) {
  if (!shape.has_value()) {
    why = "the instruction before the reported address writes no memory: the store was made by "
          "another that led here (a call, or an exception's delivery)";
  } else if (shape->transfers) {
    why = "the instruction before the reported address is a call, whose store is reported at its "
          "target";
  } else if (shape->address.has_value() && !Overlaps(*shape, trap)) {
    why = absl::StrFormat("the instruction before the reported address writes 0x%x, which is not "
                          "watched", *shape->address);
  } else {
    return true;
  }
  return false;
}

WriterInstruction Unknown(const WriterTrap& trap, std::string note) {
  return {.next_address = trap.next_pc,
          .text = "",
          .note = absl::StrCat("only the next instruction's address is known: ", note)};
}

WriterInstruction Found(const WriterTrap& trap, const Text& text, uint64_t address,
                        WriterConfidence confidence, std::string note) {
  const auto shape = DecodeStoreShape(text.From(address), address);
  return {.confidence = confidence,
          .next_address = trap.next_pc,
          .address = address,
          .length = shape->length,
          .is_store = true,
          .rep = shape->rep,
          .text = DescribeInstruction(text.From(address), address),
          .note = std::move(note)};
}

// The stream is in step with next_pc: `before` is certainly the instruction that ends there.
WriterInstruction Judge(const WriterTrap& trap, const Text& text, uint64_t before) {
  const auto shape = DecodeStoreShape(text.From(before), before);
  std::string why;
  const bool rep_follows = RepAt(text, trap.next_pc);
  if (CanBeTheWriter(shape, trap, why)) {
    if (!rep_follows || shape->address.has_value()) {
      return Found(trap, text, before, WriterConfidence::kExact, "");
    }
    return Found(trap, text, before, WriterConfidence::kApproximate,
                 "the repeated string store at the reported address may have made it instead");
  }
  if (rep_follows) return Found(trap, text, trap.next_pc, WriterConfidence::kExact, "");
  return Unknown(trap, std::move(why));
}

// No stream to follow: decode from many places before, and see what they agree on.
std::optional<uint64_t> Vote(const Text& text, uint64_t next_pc) {
  const uint64_t available = next_pc - text.start;
  std::map<uint64_t, int> votes;
  int voters = 0;
  const uint64_t nearest = std::min(available, kVoteNearest);
  for (uint64_t back = nearest; back <= std::min(available, kVoteFarthest) && back > 0; ++back) {
    const auto before = InstructionBefore(text, next_pc - back, next_pc);
    if (!before.has_value()) continue;
    ++votes[*before];
    ++voters;
  }
  for (const auto& [address, count] : votes) {
    if (count * 4 >= voters * 3 && voters >= 8) return address;
  }
  return std::nullopt;
}

// The longest store before next_pc that names the watched address itself.
std::optional<uint64_t> NamesTheWatched(const WriterTrap& trap, const Text& text) {
  const uint64_t room = std::min<uint64_t>(trap.next_pc - text.start, kMaxInstructionLength);
  for (uint64_t back = room; back > 0; --back) {
    const uint64_t at = trap.next_pc - back;
    const auto shape = DecodeStoreShape(text.From(at), at);
    if (shape.has_value() && shape->length == back && shape->address.has_value() &&
        !shape->transfers && Overlaps(*shape, trap)) {
      return at;
    }
  }
  return std::nullopt;
}

WriterInstruction FindWithoutStream(const WriterTrap& trap, const Text& text,
                                    std::string_view why_no_stream) {
  const auto elected = Vote(text, trap.next_pc);
  std::string why = "decoding from different places before it does not agree";
  if (elected.has_value() &&
      CanBeTheWriter(DecodeStoreShape(text.From(*elected), *elected), trap, why)) {
    return Found(trap, text, *elected, WriterConfidence::kApproximate, std::string(why_no_stream));
  }
  if (const auto named = NamesTheWatched(trap, text); named.has_value()) {
    return Found(trap, text, *named, WriterConfidence::kApproximate, std::string(why_no_stream));
  }
  if (RepAt(text, trap.next_pc)) {
    return Found(trap, text, trap.next_pc, WriterConfidence::kApproximate,
                 std::string(why_no_stream));
  }
  return Unknown(trap, absl::StrCat(why_no_stream, ", and ", why));
}

}  // namespace

WriterInstruction FindWriter(const WriterTrap& trap, TextReader reader) {
  const bool has_start = trap.function_start.has_value() && *trap.function_start <= trap.next_pc &&
                         trap.next_pc - *trap.function_start <= kMaxFunctionLength;
  const uint64_t nearby = trap.next_pc - std::min(trap.next_pc, kVoteFarthest);
  const uint64_t wanted = has_start ? *trap.function_start : nearby;
  const Text text = ReadText(wanted, trap.next_pc, reader);
  if (text.bytes.empty()) return Unknown(trap, "the guest's text there cannot be read");
  if (!has_start) return FindWithoutStream(trap, text, "the function's start is not known");
  if (wanted == trap.next_pc) {
    if (RepAt(text, trap.next_pc)) {
      return Found(trap, text, trap.next_pc, WriterConfidence::kExact, "");
    }
    return Unknown(trap, "it is a function's first: the store was made by what led here (a call, "
                         "or an exception's delivery)");
  }
  if (text.start > wanted) {
    return FindWithoutStream(trap, text, "the function's start cannot be read");
  }
  const auto before = InstructionBefore(text, wanted, trap.next_pc);
  if (before.has_value()) return Judge(trap, text, *before);
  return FindWithoutStream(trap, text,
                           "decoding from the function's start does not come by the reported "
                           "address (data between the instructions)");
}

std::string_view WriterConfidenceName(WriterConfidence confidence) {
  switch (confidence) {
    case WriterConfidence::kExact: return "exact";
    case WriterConfidence::kApproximate: return "approximate";
    case WriterConfidence::kUnknown: break;
  }
  return "unknown";
}

}  // namespace watchsnap
