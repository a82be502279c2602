// What was read of a frozen guest can be read again from the evidence, and nothing else can.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status_matchers.h"
#include "gtest/gtest.h"
#include "snapshot/evidence/captured_memory.h"
#include "snapshot/evidence/evidence_recorder.h"
#include "snapshot/evidence/evidence_ring.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;

constexpr uint64_t kBase = 0xffff'8880'0000'0000;

// `size` bytes at kBase that say where they are.
class Memory : public FrozenMemory {
 public:
  explicit Memory(size_t size) : bytes_(size) {
    for (size_t i = 0; i < size; ++i) bytes_[i] = static_cast<uint8_t>(i * 7 + i / 256);
  }
  size_t CopyPrefix(uint64_t kva, absl::Span<uint8_t> out) const override {
    ++copies_;
    if (kva < kBase || kva - kBase >= bytes_.size()) return 0;
    const size_t size = std::min(out.size(), bytes_.size() - (kva - kBase));
    std::memcpy(out.data(), bytes_.data() + (kva - kBase), size);
    return size;
  }
  VirtualPiece PieceAt(uint64_t kva) const override {
    if (piece_ == 0 || kva < kBase || kva - kBase >= bytes_.size()) return {};
    const size_t begin = (kva - kBase) / piece_ * piece_;
    return {.va = kBase + begin,
            .size = std::min(piece_, bytes_.size() - begin),
            .host = bytes_.data() + begin};
  }
  std::vector<uint8_t> bytes_;
  mutable int copies_ = 0;
  size_t piece_ = 0;  // how much lies together; 0: not known
};

std::unique_ptr<EvidenceRing> MakeRing(size_t capacity) {
  auto ring = EvidenceRing::Create(capacity);
  EXPECT_THAT(ring.status(), IsOk());
  return *std::move(ring);
}

TEST(EvidenceTest, WhatWasReadIsReadAgainAndNothingElse) {
  Memory memory(4096);
  auto ring = MakeRing(65536);
  EvidenceRecorder recorder(ring.get());
  recorder.Begin(memory);
  uint64_t word = 0;
  ASSERT_TRUE(recorder.Load(kBase + 13, word));
  EXPECT_EQ(std::memcmp(&word, memory.bytes_.data() + 13, 8), 0);
  EXPECT_EQ(recorder.Take(kBase + 100, 1000), 1000u);
  EXPECT_EQ(recorder.Take(kBase + 4000, 1000), 96u) << "the guest's memory ends there";
  EXPECT_FALSE(recorder.Load(kBase + 4092, word));
  const EvidenceBlock block = recorder.Commit();

  CapturedMemory captured(ring->Bytes(block));
  uint64_t again = 0;
  ASSERT_TRUE(captured.Load(kBase + 13, again));
  EXPECT_EQ(again, word);
  EXPECT_FALSE(captured.Load(kBase + 14, again)) << "its last byte was not copied";
  EXPECT_FALSE(captured.Load(kBase + 90, again));
  std::vector<uint8_t> bytes(1000);
  ASSERT_TRUE(captured.Read(kBase + 100, absl::MakeSpan(bytes)));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.bytes_.begin() + 100));
  EXPECT_EQ(captured.Take(kBase + 600, 1000), 500u);
  EXPECT_EQ(captured.Take(kBase + 4000, 1000), 96u);
  EXPECT_EQ(captured.Take(kBase + 2000, 8), 0u);
}

TEST(EvidenceTest, WhatLiesInThePageReadLastIsTakenFromThere) {
  Memory memory(4096);
  memory.piece_ = 1024;
  auto ring = MakeRing(65536);
  EvidenceRecorder recorder(ring.get());
  recorder.Begin(memory);
  EXPECT_EQ(recorder.Take(kBase + 1030, 8), 8u);
  EXPECT_EQ(recorder.Take(kBase + 1024, 1024), 1024u) << "all of the piece";
  EXPECT_EQ(recorder.Take(kBase + 2047, 1), 1u);
  EXPECT_EQ(memory.copies_, 1);
  EXPECT_EQ(recorder.Take(kBase + 2047, 2), 2u) << "past its end";
  EXPECT_EQ(recorder.Take(kBase + 1023, 2), 2u) << "before it";
  EXPECT_EQ(memory.copies_, 3);
  CapturedMemory captured(ring->Bytes(recorder.Commit()));
  std::vector<uint8_t> bytes(1026);
  ASSERT_TRUE(captured.Read(kBase + 1023, absl::MakeSpan(bytes)));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.bytes_.begin() + 1023));

  recorder.Begin(memory);
  EXPECT_EQ(recorder.Take(kBase + 1030, 8), 8u);
  EXPECT_EQ(memory.copies_, 4) << "another freeze: the guest may have moved";
  recorder.Commit();
}

TEST(EvidenceTest, PiecesThatTouchOrOverlapReadAsOne) {
  Memory memory(4096);
  auto ring = MakeRing(65536);
  EvidenceRecorder recorder(ring.get());
  recorder.Begin(memory);
  recorder.Take(kBase, 1000);       // holds all of the next
  recorder.Take(kBase + 10, 20);
  recorder.Take(kBase + 1000, 50);  // touches the first
  recorder.Take(kBase + 1040, 60);  // overlaps the third
  CapturedMemory captured(ring->Bytes(recorder.Commit()));
  std::vector<uint8_t> bytes(1100);
  ASSERT_TRUE(captured.Read(kBase, absl::MakeSpan(bytes)));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.bytes_.begin()));
  EXPECT_EQ(captured.Take(kBase + 25, 5000), 1075u);
}

TEST(EvidenceTest, WhatFindsNoRoomIsRefusedAndCounted) {
  Memory memory(16384);
  auto ring = MakeRing(4096);
  EvidenceRecorder recorder(ring.get());
  recorder.Begin(memory);
  EXPECT_EQ(recorder.Take(kBase, 3000), 3000u);
  EXPECT_EQ(recorder.Take(kBase + 4000, 2000), 0u);
  EXPECT_EQ(recorder.refused_bytes(), 2000u);
  EXPECT_EQ(recorder.Take(kBase + 8000, 100), 100u) << "something smaller still fits";
  CapturedMemory captured(ring->Bytes(recorder.Commit()));
  EXPECT_EQ(captured.Take(kBase + 4000, 2000), 0u);
  EXPECT_EQ(captured.Take(kBase + 8000, 100), 100u);
}

TEST(EvidenceTest, TheRingGoesRoundAndBlocksMayBeFreedOutOfOrder) {
  Memory memory(4096);
  auto ring = MakeRing(8192);
  EvidenceRecorder recorder(ring.get());
  std::vector<std::pair<EvidenceBlock, uint64_t>> held;
  uint64_t refused = 0;
  for (int round = 0; round < 2000; ++round) {
    const uint64_t offset = static_cast<uint64_t>(round * 37 % 3000);
    const uint64_t length = 1 + static_cast<uint64_t>(round * 101 % 1000);
    recorder.Begin(memory);
    const uint64_t taken = recorder.Take(kBase + offset, length);
    refused += recorder.refused_bytes() != 0;
    const EvidenceBlock block = recorder.Commit();
    if (taken == length) held.push_back({block, offset});
    if (held.size() < 24 && taken != 0) continue;
    ASSERT_FALSE(held.empty());
    // All that is held is still whole; then the second-oldest goes first.
    for (const auto& [kept, at] : held) {
      CapturedMemory captured(ring->Bytes(kept));
      uint8_t byte = 0;
      ASSERT_TRUE(captured.Load(kBase + at, byte));
      ASSERT_EQ(byte, memory.bytes_[at]);
    }
    if (held.size() > 1) {
      ring->Free(held[1].first);
      held.erase(held.begin() + 1);
    }
    ring->Free(held[0].first);
    held.erase(held.begin());
  }
  EXPECT_GT(refused, 0u) << "the ring was never full: the test shows less than it says";
  for (const auto& entry : held) ring->Free(entry.first);
  EXPECT_GE(ring->Room(), ring->capacity() - 64) << "all of it is free again";
  ring->Begin();
  EXPECT_EQ(ring->Begin().size(), ring->capacity() - 16);
}

}  // namespace
}  // namespace watchsnap
