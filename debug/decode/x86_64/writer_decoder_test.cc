#include "debug/decode/writer_decoder.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using Bytes = std::vector<uint8_t>;
using testing::HasSubstr;

constexpr uint64_t kText = 0xffffffff81002000;     // where the tests' code lies
constexpr uint64_t kWatched = 0xffffffff83007a00;  // the watched variable

// Guest memory that holds `code` at kText, up to the end of its page, and nothing before or behind.
class Guest {
 public:
  explicit Guest(Bytes code) : code_(std::move(code)) {
    if (!code_.empty()) code_.resize((code_.size() + 4095) / 4096 * 4096, 0xcc);
  }

  absl::Status operator()(uint64_t kva, absl::Span<uint8_t> out) const {
    if (kva < kText || kva + out.size() > kText + code_.size()) {
      return absl::OutOfRangeError("not mapped");
    }
    std::memcpy(out.data(), code_.data() + (kva - kText), out.size());
    return absl::OkStatus();
  }

 private:
  Bytes code_;
};

WriterInstruction Find(const Bytes& code, uint64_t next_offset, bool known_start = true) {
  const WriterTrap trap{.next_pc = kText + next_offset,
                        .function_start = known_start ? std::optional(kText) : std::nullopt,
                        .watched_address = kWatched,
                        .watched_length = 8};
  return FindWriter(trap, Guest(code));
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const Bytes kProlog = {0xf3, 0x0f, 0x1e, 0xfa,         // endbr64
                       0x55,                           // push %rbp
                       0x48, 0x89, 0xe5,               // mov %rsp,%rbp
                       0x8b, 0x05, 0x10, 0, 0, 0};     // mov 0x10(%rip),%eax
const Bytes kStore = {0x48, 0x89, 0x07};               // mov %rax,(%rdi)
const Bytes kRepStos = {0xf3, 0x48, 0xab};             // rep stos %rax,(%rdi)
const Bytes kEnd = {0x5d, 0xc3, 0xcc, 0xcc};           // pop %rbp; ret
const Bytes kLoad = {0x48, 0x8b, 0x07};                // mov (%rdi),%rax

// `add %rdx,target(%rip)` as it stands at kText + offset.
Bytes AddTo(uint64_t target, uint64_t offset) {
  const auto displacement = static_cast<uint32_t>(target - (kText + offset + 7));
  Bytes code = {0x48, 0x01, 0x15, 0, 0, 0, 0};
  std::memcpy(code.data() + 3, &displacement, sizeof(displacement));
  return code;
}

TEST(FindWriter, TheStoreThatEndsAtTheReportedAddress) {
  const WriterInstruction writer = Find(kProlog + kStore + kEnd, kProlog.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + kProlog.size());
  EXPECT_EQ(writer.length, 3);
  EXPECT_TRUE(writer.is_store);
  EXPECT_FALSE(writer.rep);
  EXPECT_EQ(writer.text, "mov %rax, (%rdi)");
  EXPECT_EQ(writer.next_address, kText + kProlog.size() + 3);
  EXPECT_EQ(writer.note, "");
}

TEST(FindWriter, AStoreAtItsFunctionsVeryEnd) {
  const WriterInstruction writer = Find(kProlog + kStore, kProlog.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + kProlog.size());
}

TEST(FindWriter, AStoreThatNamesTheWatchedAddress) {
  const WriterInstruction writer =
      Find(kProlog + AddTo(kWatched, kProlog.size()) + kEnd, kProlog.size() + 7);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.text, "add %rdx, 0xFFFFFFFF83007A00");
}

TEST(FindWriter, AStoreThatReachesIntoTheWatchedBytesFromBelow) {
  const WriterInstruction writer =
      Find(kProlog + AddTo(kWatched - 4, kProlog.size()) + kEnd, kProlog.size() + 7);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
}

TEST(FindWriter, AStoreToSomewhereElseIsNotTheWriter) {
  for (const uint64_t target : {kWatched + 8, kWatched - 8, kWatched + 0x1000}) {
    const WriterInstruction writer =
        Find(kProlog + AddTo(target, kProlog.size()) + kEnd, kProlog.size() + 7);
    EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
    EXPECT_EQ(writer.address, 0u);
    EXPECT_THAT(writer.note, HasSubstr("is not watched"));
  }
}

TEST(FindWriter, ARepReportedAtItsEnd) {
  const WriterInstruction writer = Find(kProlog + kRepStos + kEnd, kProlog.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + kProlog.size());
  EXPECT_TRUE(writer.rep);
}

TEST(FindWriter, ARepReportedInItsMiddleIsItself) {
  const WriterInstruction writer = Find(kProlog + kRepStos + kEnd, kProlog.size());
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + kProlog.size());
  EXPECT_TRUE(writer.rep);
}

TEST(FindWriter, ARepThatBeginsItsFunction) {
  const WriterInstruction writer = Find(kRepStos + kEnd, 0);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText);
  EXPECT_TRUE(writer.rep);
}

TEST(FindWriter, AStoreRightBeforeARepMayBeEither) {
  const WriterInstruction writer = Find(kProlog + kStore + kRepStos + kEnd, kProlog.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kApproximate);
  EXPECT_EQ(writer.address, kText + kProlog.size());
  EXPECT_THAT(writer.note, HasSubstr("repeated string store"));
}

TEST(FindWriter, AStoreToTheWatchedAddressRightBeforeARepIsTheWriter) {
  const WriterInstruction writer =
      Find(kProlog + AddTo(kWatched, kProlog.size()) + kRepStos + kEnd, kProlog.size() + 7);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + kProlog.size());
}

TEST(FindWriter, ALoadBeforeTheReportedAddressIsNotTheWriter) {
  const WriterInstruction writer = Find(kProlog + kLoad + kEnd, kProlog.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_FALSE(writer.is_store);
  EXPECT_EQ(writer.address, 0u);
  EXPECT_EQ(writer.next_address, kText + kProlog.size() + 3);
  EXPECT_THAT(writer.note, HasSubstr("only the next instruction's address is known"));
}

TEST(FindWriter, ACallBeforeTheReportedAddressIsNotTheWriter) {
  const Bytes call = {0xe8, 0, 1, 0, 0};
  const WriterInstruction writer = Find(kProlog + call + kEnd, kProlog.size() + call.size());
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_THAT(writer.note, HasSubstr("a call"));
}

TEST(FindWriter, AFunctionsFirstInstructionWasReachedByTheWriter) {
  const WriterInstruction writer = Find(kProlog + kEnd, 0);
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_THAT(writer.note, HasSubstr("what led here"));
}

// jmp over nine bytes of data whose last opens a ten-byte instruction: decoding from the start runs
// across the store behind it.
const Bytes kDataInside = {0xeb, 0x09, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x48, 0xb8};

TEST(FindWriter, DataInsideAFunctionMakesTheAnswerApproximate) {
  const Bytes padding(40, 0x90);
  const Bytes before = kDataInside + padding;
  const WriterInstruction writer = Find(before + kStore + kEnd, before.size() + 3);
  EXPECT_EQ(writer.confidence, WriterConfidence::kApproximate);
  EXPECT_EQ(writer.address, kText + before.size());
  EXPECT_THAT(writer.note, HasSubstr("data between the instructions"));
}

TEST(FindWriter, RightBehindDataTheWatchedAddressTellsTheStore) {
  const Bytes store = AddTo(kWatched, kDataInside.size());
  const WriterInstruction writer =
      Find(kDataInside + store + kEnd, kDataInside.size() + store.size());
  EXPECT_EQ(writer.confidence, WriterConfidence::kApproximate);
  EXPECT_EQ(writer.address, kText + kDataInside.size());
}

TEST(FindWriter, RightBehindDataNothingIsMadeUp) {
  const WriterInstruction writer =
      Find(kDataInside + kStore + kEnd, kDataInside.size() + kStore.size());
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_EQ(writer.address, 0u);
}

TEST(FindWriter, WithoutAFunctionTheNeighbourhoodVotes) {
  const Bytes before = Bytes(20, 0x90) + kProlog + kLoad + kProlog + Bytes(40, 0x90);
  const WriterInstruction writer = Find(before + kStore + kEnd, before.size() + 3, false);
  // The code begins where memory does, nearer than the decoder would like to look.
  EXPECT_EQ(writer.confidence, WriterConfidence::kApproximate);
  EXPECT_EQ(writer.address, kText + before.size());
  EXPECT_THAT(writer.note, HasSubstr("start is not known"));
}

TEST(FindWriter, APageThatIsNotThereBehindTheStoreDoesNotMatter) {
  const Bytes before = Bytes(4096 - kStore.size(), 0x90);
  const WriterInstruction writer = Find(before + kStore, 4096);
  EXPECT_EQ(writer.confidence, WriterConfidence::kExact);
  EXPECT_EQ(writer.address, kText + before.size());
}

TEST(FindWriter, TextThatCannotBeReadIsSaidToBe) {
  const WriterInstruction writer = Find({}, 0x100);
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_THAT(writer.note, HasSubstr("cannot be read"));
  EXPECT_EQ(writer.next_address, kText + 0x100);
}

TEST(FindWriter, AFunctionTooLongToDecodeIsNotFollowed) {
  int longest_read = 0;
  const WriterTrap trap{.next_pc = kText + kMaxFunctionLength + 64,
                        .function_start = kText,
                        .watched_address = kWatched,
                        .watched_length = 8};
  const WriterInstruction writer = FindWriter(trap, [&](uint64_t, absl::Span<uint8_t> out) {
    longest_read = std::max<int>(longest_read, out.size());
    std::fill(out.begin(), out.end(), 0x90);
    return absl::OkStatus();
  });
  EXPECT_EQ(writer.confidence, WriterConfidence::kUnknown);
  EXPECT_LE(longest_read, 4096);
}

}  // namespace
}  // namespace watchsnap
