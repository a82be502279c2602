#include "debug/page_watch/watch_table.h"

#include <array>
#include <cstring>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kPage = 0x5000;
constexpr uint64_t kKva = 0xffffffff81000000;

// Two guest pages that lie apart in physical memory and follow each other in virtual.
class WatchTableTest : public ::testing::Test {
 protected:
  // A watch on [kKva + offset, … + length).
  void Add(WatchId id, uint32_t offset, uint32_t length, bool reserved = false) {
    WatchTable::Watch watch = {.id = id,
                               .spec = {.address = kKva + offset,
                                        .length = length,
                                        .tag = "w",
                                        .reserved_slot = reserved}};
    for (uint32_t done = 0; done < length;) {
      const uint32_t at = offset + done;
      const uint32_t part = std::min<uint32_t>(length - done, 4096 - at % 4096);
      watch.pieces.push_back({.gpa = Gpa(at), .length = part, .offset = done, .host = Host(at)});
      done += part;
    }
    table_.Add(watch);
  }
  static uint64_t Gpa(uint32_t at) { return at < 4096 ? kPage + at : 0x9000 + (at - 4096); }
  uint8_t* Host(uint32_t at) { return at < 4096 ? &first_[at] : &second_[at - 4096]; }
  bool Store(uint32_t at, std::vector<uint8_t> bytes) {
    const bool hit = table_.NoteStore(0, Gpa(at), static_cast<uint32_t>(bytes.size()));
    std::memcpy(Host(at), bytes.data(), bytes.size());
    return hit;
  }
  std::vector<WatchHit> Hits(bool only_changed = false) {
    table_.MakeHits(0, 0x100, 0x103, only_changed);
    std::vector<WatchHit> all;
    for (WatchHits hits;;) {
      table_.TakeHits(0, hits);
      if (hits.count == 0) return all;
      all.insert(all.end(), hits.hits.begin(), hits.hits.begin() + hits.count);
    }
  }

  alignas(4096) std::array<uint8_t, 4096> first_ = {};
  alignas(4096) std::array<uint8_t, 4096> second_ = {};
  WatchTable table_{2};
};

TEST_F(WatchTableTest, AStoreHitsTheWatchesItWritesToAndNoOther) {
  Add(1, 0, 4);
  Add(2, 4, 4);
  Add(3, 16, 8);
  EXPECT_FALSE(Store(8, {1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_FALSE(Store(15, {1}));
  EXPECT_FALSE(Store(24, {1}));
  EXPECT_TRUE(Hits().empty());
  EXPECT_TRUE(Store(2, {0xaa, 0xbb, 0xcc, 0xdd}));
  const std::vector<WatchHit> hits = Hits();
  ASSERT_EQ(hits.size(), 2u);
  EXPECT_EQ(hits[0].watch, 1);
  EXPECT_EQ(hits[0].old_value, 0u);
  EXPECT_EQ(hits[0].new_value, 0xbbaa0000u);
  EXPECT_EQ(hits[0].stored_address, kKva + 2);
  EXPECT_EQ(hits[0].stored_bytes, 2u);
  EXPECT_EQ(hits[0].writer_pc, 0x100u);
  EXPECT_EQ(hits[0].next_pc, 0x103u);
  EXPECT_EQ(hits[1].watch, 2);
  EXPECT_EQ(hits[1].new_value, 0xddccu);
}

TEST_F(WatchTableTest, PiecesOfOneStoreAreOneHit) {
  Add(1, 4092, 8);  // crosses into the other page
  EXPECT_THAT(table_.Pages(), ElementsAre(kPage, 0x9000));
  EXPECT_TRUE(Store(4090, {0, 0, 1, 2, 3, 4}));
  EXPECT_TRUE(Store(4096, {5, 6}));
  const std::vector<WatchHit> hits = Hits();
  ASSERT_EQ(hits.size(), 1u);
  EXPECT_EQ(hits[0].old_value, 0u);
  EXPECT_EQ(hits[0].new_value, 0x060504030201u);
  EXPECT_EQ(hits[0].stored_address, kKva + 4092);
  EXPECT_EQ(hits[0].stored_bytes, 6u);
}

TEST_F(WatchTableTest, OfALongWatchTheStoredBytesAreShown) {
  Add(1, 0, 6000);
  first_[100] = 7;
  EXPECT_TRUE(Store(100, {8, 1}));
  std::vector<WatchHit> hits = Hits();
  ASSERT_EQ(hits.size(), 1u);
  EXPECT_EQ(hits[0].address, kKva);
  EXPECT_EQ(hits[0].stored_address, kKva + 100);
  EXPECT_EQ(hits[0].stored_bytes, 2u);
  EXPECT_EQ(hits[0].old_value, 7u);
  EXPECT_EQ(hits[0].new_value, 0x108u);
  EXPECT_TRUE(Store(5000, std::vector<uint8_t>(16, 1)));
  hits = Hits();
  ASSERT_EQ(hits.size(), 1u);
  EXPECT_EQ(hits[0].stored_bytes, 16u);
  EXPECT_EQ(hits[0].new_value, 0x0101010101010101u) << "the first 8 of them";
  second_[0] = 9;
  EXPECT_TRUE(Store(4094, {1, 2}));
  EXPECT_TRUE(Store(4096, {3, 4}));
  hits = Hits();
  ASSERT_EQ(hits.size(), 1u);
  EXPECT_EQ(hits[0].stored_address, kKva + 4094);
  EXPECT_EQ(hits[0].stored_bytes, 4u);
  EXPECT_EQ(hits[0].old_value, 0x090000u);
  EXPECT_EQ(hits[0].new_value, 0x04030201u);
}

TEST_F(WatchTableTest, AStoreOfNothingNewIsAHit) {
  Add(1, 0, 4);
  EXPECT_TRUE(Store(0, {0, 0, 0, 0}));
  EXPECT_EQ(Hits().size(), 1u);
  EXPECT_TRUE(Store(0, {0, 0, 0, 0}));
  EXPECT_TRUE(Hits(/*only_changed=*/true).empty()) << "it may not have been carried out";
}

TEST_F(WatchTableTest, AnUnknownStoreHitsWhatChangesAndWhatIsLong) {
  Add(1, 0, 4);
  Add(2, 8, 4);
  Add(3, 64, 64);
  table_.NoteUnknownStore(0);
  first_[9] = 1;
  const std::vector<WatchHit> hits = Hits();
  ASSERT_EQ(hits.size(), 2u);
  EXPECT_EQ(hits[0].watch, 2);
  EXPECT_EQ(hits[0].new_value, 0x100u);
  EXPECT_EQ(hits[1].watch, 3);
  EXPECT_FALSE(hits[1].values_known);
}

TEST_F(WatchTableTest, ManyHitsOfOneStoreComeInBatchesAndVcpusAreKeptApart) {
  for (int i = 0; i < 16; ++i) Add(i + 1, i, 1);
  EXPECT_TRUE(Store(0, std::vector<uint8_t>(16, 9)));
  EXPECT_TRUE(table_.has_notes(0));
  EXPECT_FALSE(table_.has_notes(1));
  EXPECT_EQ(Hits().size(), 16u);
  EXPECT_TRUE(Hits().empty());
}

TEST_F(WatchTableTest, WatchesOfAKindDoNotOverlapAndGoAway) {
  Add(1, 8, 8);
  Add(2, 8, 4, /*reserved=*/true);
  EXPECT_NE(table_.Overlapping({.address = kKva + 15, .length = 1}), nullptr);
  EXPECT_EQ(table_.Overlapping({.address = kKva + 16, .length = 1}), nullptr);
  EXPECT_EQ(table_.Overlapping({.address = kKva + 12, .length = 4, .reserved_slot = true}), nullptr);
  EXPECT_TRUE(table_.Holds(kPage));
  EXPECT_FALSE(table_.Holds(0x9000));
  EXPECT_TRUE(Store(8, {1}));
  EXPECT_EQ(Hits().size(), 2u) << "the reserved one is told too";
  EXPECT_TRUE(table_.Remove(1));
  EXPECT_FALSE(table_.Remove(1));
  EXPECT_TRUE(table_.Remove(2));
  EXPECT_FALSE(table_.Holds(kPage));
  EXPECT_FALSE(Store(8, {2}));
  EXPECT_TRUE(table_.Pages().empty());
}

}  // namespace
}  // namespace watchsnap
