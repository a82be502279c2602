#include "vmm/guest_memory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::IsOkAndHolds;
using ::absl_testing::StatusIs;
using ::testing::HasSubstr;

constexpr uint64_t kHole = 16 << 20;
constexpr uint64_t kHigh = 4ull << 30;

TEST(GuestMemoryTest, RamBeyondTheDeviceHoleContinuesAtFourGib) {
  auto memory = GuestMemory::Create(24 << 20, kHole);
  ASSERT_THAT(memory.status(), IsOk());
  ASSERT_EQ((*memory)->regions().size(), 2u);
  EXPECT_EQ((*memory)->regions()[1].gpa, kHigh);
  EXPECT_EQ((*memory)->regions()[1].size, 8u << 20);
  EXPECT_THAT((*memory)->WriteObject<uint32_t>(kHigh + 4, 7), IsOk());
  EXPECT_THAT((*memory)->ReadObject<uint32_t>(kHigh + 4), IsOkAndHolds(7u));
}

TEST(GuestMemoryTest, NothingOutsideRamIsReached) {
  auto memory = GuestMemory::Create(24 << 20, kHole);
  ASSERT_THAT(memory.status(), IsOk());
  const struct {
    uint64_t gpa, length;
  } outside[] = {{kHole, 1},     {kHole - 1, 2},          {kHigh - 1, 2},       {kHigh + (8 << 20), 1},
                 {~0ull, 1},     {~0ull - 3, 8},          {0, ~0ull},           {1, ~0ull},
                 {kHigh, ~0ull}, {kHigh + 1, ~0ull - 10}, {0, (24 << 20) + 1ull}};
  for (const auto& [gpa, length] : outside) {
    EXPECT_EQ((*memory)->HostAddress(gpa, length), nullptr) << gpa << " " << length;
    EXPECT_THAT((*memory)->Slice(gpa, length).status(),
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("not inside RAM")));
  }
  EXPECT_NE((*memory)->HostAddress(kHole - 1, 1), nullptr);
  EXPECT_NE((*memory)->HostAddress(0, kHole), nullptr);
}

TEST(GuestMemoryTest, AMemfdHasTheSameBytesAtTheSameAddresses) {
  auto memory = GuestMemory::Create(24 << 20, kHole);
  ASSERT_THAT(memory.status(), IsOk());
  EXPECT_EQ((*memory)->memfd(), -1);
  uint8_t* const low = (*memory)->HostAddress(4096, 8);
  uint8_t* const high = (*memory)->HostAddress(kHigh + (8 << 20) - 8, 8);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(low - 4096) % (2 << 20), 0u) << "else no huge page fits";
  *low = 7;
  *high = 9;
  ASSERT_THAT((*memory)->MoveToMemfd(), IsOk());
  EXPECT_EQ((*memory)->HostAddress(4096, 8), low);
  EXPECT_EQ(*low, 7);
  EXPECT_EQ(*high, 9);
  // The file holds what is written from here on, and no more blocks than were touched.
  *low = 8;
  uint8_t in_file = 0;
  ASSERT_EQ(pread((*memory)->memfd(), &in_file, 1, 4096), 1);
  EXPECT_EQ(in_file, 8);
  struct stat file;
  ASSERT_EQ(fstat((*memory)->memfd(), &file), 0);
  EXPECT_EQ(file.st_blocks * 512, 2 * 4096);
  const int fd = (*memory)->memfd();
  EXPECT_THAT((*memory)->MoveToMemfd(), IsOk());
  EXPECT_EQ((*memory)->memfd(), fd);
}

TEST(GuestMemoryTest, SizesThatCannotBeAreRefused) {
  EXPECT_THAT(GuestMemory::Create(0, kHole).status(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(GuestMemory::Create(~0ull, kHole).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(GuestMemory::Create(1 << 20, 12345).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace watchsnap
