#include "vmm/x86_64/page_walk.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/x86_64/boot_layout.h"
#include "vmm/x86_64/cpu_state.h"
#include "vmm/x86_64/layout.h"
#include "vmm/x86_64/page_walk_cache.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kPresent = 1, kWrite = 2, kUser = 4, kLarge = 0x80, kNoExecute = 1ull << 63;
constexpr uint64_t kAll = kPresent | kWrite | kUser;
constexpr uint64_t kSize = 8 << 20;

class PageWalk : public ::testing::Test {
 protected:
  void SetUp() override {
    auto memory = GuestMemory::Create(kSize, layout::kDeviceHoleStart);
    ASSERT_TRUE(memory.ok());
    memory_ = *std::move(memory);
    paging_ = {.cr0 = 0x8000'0001, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0xd00};
  }
  void Set(uint64_t table, uint64_t index, uint64_t entry) {
    ASSERT_TRUE(memory_->WriteObject(table + index * 8, entry).ok());
  }
  // Tables for `va` down to `level` (1: a 4 KiB page) at 0x1000, 0x2000, …; ends in `entry`.
  void Map(uint64_t va, int level, uint64_t entry, int levels = 4) {
    uint64_t table = 0x1000;
    for (int l = levels; l > level; --l, table += 0x1000) {
      Set(table, va >> (12 + 9 * (l - 1)) & 511, (table + 0x1000) | kAll);
    }
    Set(table, va >> (12 + 9 * (level - 1)) & 511, entry);
  }
  std::optional<Translation> Walk(uint64_t va) { return TranslateVirtual(*memory_, paging_, va); }

  std::unique_ptr<GuestMemory> memory_;
  PagingState paging_;
};

TEST_F(PageWalk, PagesOfAllSizes) {
  constexpr uint64_t kVa = 0xffff'ffff'8123'4567;
  Map(kVa, 1, 0x20'0000 | kAll);
  auto page = Walk(kVa);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->gpa, 0x20'0567u);
  EXPECT_EQ(page->page_size, 4096u);
  Map(kVa, 2, 0x20'0000 | kAll | kLarge | 1 << 12);  // bit 12 is PAT here
  page = Walk(kVa);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->gpa, 0x20'0000u + (kVa & 0x1f'ffff));
  EXPECT_EQ(page->page_size, 2u << 20);
  Map(kVa, 3, 0x4000'0000 | kAll | kLarge);
  page = Walk(kVa);
  ASSERT_TRUE(page);
  EXPECT_EQ(page->gpa, 0x4000'0000 + (kVa & 0x3fff'ffff));
  EXPECT_EQ(page->page_size, 1u << 30);
}

TEST_F(PageWalk, FiveLevels) {
  constexpr uint64_t kVa = 0xff11'2233'4455'6677;  // canonical with 57 bits only
  Map(kVa, 1, 0x30'0000 | kAll, 5);
  EXPECT_FALSE(Walk(kVa));
  paging_.cr4 |= 1 << 12;
  ASSERT_TRUE(Walk(kVa));
  EXPECT_EQ(Walk(kVa)->gpa, 0x30'0677u);
}

TEST_F(PageWalk, RightsAreThoseThatAllLevelsGive) {
  Map(0x5000, 1, 0x20'0000 | kAll);
  EXPECT_TRUE(Walk(0x5000)->writable && Walk(0x5000)->user && Walk(0x5000)->executable);
  Set(0x2000, 0, 0x3000 | kPresent | kNoExecute);
  EXPECT_FALSE(Walk(0x5000)->writable || Walk(0x5000)->user || Walk(0x5000)->executable);
  paging_.efer &= ~(1ull << 11);  // without NXE the bit is reserved
  EXPECT_FALSE(Walk(0x5000));
}

TEST_F(PageWalk, WhatIsNotMappedOrReservedIsNothing) {
  Map(0x5000, 1, 0x20'0000 | kAll);
  EXPECT_FALSE(Walk(0x6000));
  EXPECT_FALSE(Walk(0x8000'0000'0000));  // not canonical
  Set(0x1000, 0, 0x2000 | kAll | kLarge);
  EXPECT_FALSE(Walk(0x5000));  // no 512 GiB pages
  Map(0x5000, 2, 0x20'1000 | kAll | kLarge | 1 << 13);
  EXPECT_FALSE(Walk(0x5000));  // misaligned large page
  Set(0x1000, 0, 0x7fff'ffff'f000 | kAll);
  EXPECT_FALSE(Walk(0x5000));  // table outside RAM
  paging_.cr3 = kSize;
  EXPECT_FALSE(Walk(0x5000));
}

TEST_F(PageWalk, ModesWithoutLongModePaging) {
  paging_ = {};
  EXPECT_EQ(Walk(0x1234)->gpa, 0x1234u);
  EXPECT_FALSE(Walk(0x1'0000'0000));
  paging_.cr0 = 0x8000'0001;  // 32-bit paging
  EXPECT_FALSE(Walk(0x1234));
}

TEST_F(PageWalk, ReadsAcrossPagesThatLieApart) {
  Map(0x5000, 1, 0x30'0000 | kAll);
  Map(0x6000, 1, 0x20'0000 | kAll);
  ASSERT_TRUE(
      memory_->Write(0x30'0ffc, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>("left"), 4))
          .ok());
  ASSERT_TRUE(
      memory_->Write(0x20'0000, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>("right"), 5))
          .ok());
  std::string out(9, '\0');
  const auto span = absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()), out.size());
  ASSERT_TRUE(ReadVirtual(*memory_, paging_, 0x5ffc, span).ok());
  EXPECT_EQ(out, "leftright");
  EXPECT_EQ(ReadVirtualPrefix(*memory_, paging_, 0x6ffc, span), 4u);
  absl::Status status = ReadVirtual(*memory_, paging_, 0x6ffc, span);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("0x7000 is not mapped"));
}

TEST_F(PageWalk, ALargePageMayEndOutsideRam) {
  Map(0x4000'0000, 3, kAll | kLarge);  // 1 GiB at 0, RAM has 8 MiB
  std::vector<uint8_t> out(0x3000);
  EXPECT_EQ(ReadVirtualPrefix(*memory_, paging_, 0x4000'0000 + kSize - 0x1800, absl::MakeSpan(out)),
            0x1800u);
}

TEST_F(PageWalk, WrapsAtTheTopOfTheAddressSpaceWithoutReadingBeyond) {
  Map(0xffff'ffff'ffff'f000, 1, 0x20'0000 | kAll);
  std::vector<uint8_t> out(16);
  EXPECT_EQ(ReadVirtualPrefix(*memory_, paging_, ~0ull - 7, absl::MakeSpan(out)), 8u);
}

TEST_F(PageWalk, RandomTablesAreBoundsChecked) {
  std::mt19937_64 random(1);
  for (uint64_t gpa = 0; gpa < 0x4'0000; gpa += 8) {
    // Mostly pointers into this garbage, some anywhere.
    uint64_t entry = random();
    if (entry % 4 != 0) entry &= 0x3'ffff;
    ASSERT_TRUE(memory_->WriteObject(gpa, entry | kPresent).ok());
  }
  int mapped = 0;
  std::vector<uint8_t> out(5000);
  for (int i = 0; i < 20'000; ++i) {
    paging_.cr3 = random() & 0x3'f000;
    paging_.cr4 = random() & 1 << 12;
    const uint64_t va = static_cast<uint64_t>(static_cast<int64_t>(random()) >> 20);
    mapped += Walk(va).has_value();
    ReadVirtualPrefix(*memory_, paging_, va, absl::MakeSpan(out));
  }
  EXPECT_GT(mapped, 100);
}

TEST_F(PageWalk, TheBootTablesMapWhatTheyPromise) {
  ASSERT_TRUE(WriteBootTables(*memory_).ok());
  kvm_sregs sregs = {};
  SetLongMode(&sregs);
  paging_ = {sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer};
  for (uint64_t gpa : {0x0ull, 0x10'0000ull, 0x3fff'ffffull}) {
    EXPECT_EQ(Walk(gpa)->gpa, gpa);
    EXPECT_EQ(Walk(kHighMapBase + gpa)->gpa, gpa);
    EXPECT_TRUE(Walk(gpa)->writable && Walk(gpa)->executable && !Walk(gpa)->user);
  }
  EXPECT_EQ(Walk(layout::kLocalApicBase)->gpa, layout::kLocalApicBase);
  EXPECT_FALSE(Walk(0x1'0000'0000));
  EXPECT_FALSE(Walk(kHighMapBase + 0x4000'0000));
  EXPECT_FALSE(Walk(kHighMapBase - 1));
}

TEST_F(PageWalk, TheCacheWalksAPageOnceAFreeze) {
  constexpr uint64_t kVa = 0xffff'ffff'8123'4000;
  Map(kVa, 1, 0x20'0000 | kAll);
  Map(kVa + 0x1000, 1, 0x30'0000 | kAll);
  ASSERT_TRUE(memory_->WriteObject(0x20'0ffc, uint32_t{0x11111111}).ok());
  ASSERT_TRUE(memory_->WriteObject(0x30'0000, uint32_t{0x22222222}).ok());
  PageWalkCache cache;
  const auto read = [&](uint64_t va) {
    uint64_t value = 0;
    const size_t got = cache.ReadPrefix(
        *memory_, paging_, va, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof value));
    return std::pair(got, value);
  };
  const auto both = std::pair<size_t, uint64_t>(8, 0x22222222'11111111);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(read(kVa + 0xffc), both);
  EXPECT_EQ(cache.walks(), 2u);
  EXPECT_EQ(cache.Find(kVa + 0xffc).va, kVa);
  EXPECT_EQ(cache.Find(kVa + 0x1ffc).host, memory_->HostAddress(0x30'0000, 1));
  EXPECT_EQ(cache.Find(kVa + 0x1ffc).size, 4096u);
  EXPECT_EQ(cache.Find(kVa + 0x2000).size, 0u) << "never read";
  // The guest maps another page there: seen at the next freeze.
  Map(kVa + 0x1000, 1, 0x40'0000 | kAll);
  cache.Forget();
  EXPECT_EQ(cache.Find(kVa + 0x1ffc).size, 0u);
  EXPECT_EQ(read(kVa + 0xffc), (std::pair<size_t, uint64_t>(8, 0x11111111)));
  EXPECT_EQ(cache.walks(), 4u);
  // Nor is a page remembered that is not there any more.
  Set(0x4000, (kVa + 0x1000) >> 12 & 511, 0);
  cache.Forget();
  EXPECT_EQ(read(kVa + 0xffc).first, 4u);
  // Other tables, other pages.
  paging_.cr3 = 0x7'0000;
  EXPECT_EQ(read(kVa).first, 0u);
}

TEST_F(PageWalk, TheCacheReadsALargePageInOneWalk) {
  constexpr uint64_t kVa = 0xffff'8880'0000'0000;
  Map(kVa, 2, 0x40'0000 | kAll | kLarge);
  PageWalkCache cache;
  std::vector<uint8_t> bytes(0x10'0000);
  EXPECT_EQ(cache.ReadPrefix(*memory_, paging_, kVa + 0x123, absl::MakeSpan(bytes)), bytes.size());
  EXPECT_EQ(cache.walks(), 1u);
  EXPECT_EQ(cache.ReadPrefix(*memory_, paging_, kVa + 0x200, absl::MakeSpan(bytes).first(64)), 64u);
  EXPECT_EQ(cache.walks(), 1u);
  const VirtualPiece piece = cache.Find(kVa + 0x12'3456);
  EXPECT_EQ(piece.va, kVa);
  EXPECT_EQ(piece.size, 0x20'0000u);
  EXPECT_EQ(piece.host, memory_->HostAddress(0x40'0000, 1));
  // Past its end it is another page.
  EXPECT_EQ(cache.ReadPrefix(*memory_, paging_, kVa + 0x20'0000 - 8, absl::MakeSpan(bytes).first(64)), 8u);
  // At the next freeze it may be elsewhere, or nowhere.
  Map(kVa, 2, 0x60'0000 | kAll | kLarge);
  ASSERT_TRUE(memory_->WriteObject<uint32_t>(0x60'0000, 0xabcd).ok());
  cache.Forget();
  EXPECT_EQ(cache.ReadPrefix(*memory_, paging_, kVa, absl::MakeSpan(bytes).first(4)), 4u);
  EXPECT_EQ(bytes[0], 0xcd);
  Set(0x3000, kVa >> 21 & 511, 0);
  cache.Forget();
  EXPECT_EQ(cache.ReadPrefix(*memory_, paging_, kVa, absl::MakeSpan(bytes).first(4)), 0u);
}

}  // namespace
}  // namespace watchsnap
