#include "snapshot/guest_init/guest_init_image.h"

#include <elf.h>
#include <string.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/guest_init/guest_clock.h"

namespace watchsnap {
namespace {

TEST(GuestInitImage, TheProgramIsASmallStaticExecutable) {
  const absl::Span<const uint8_t> program = GuestInitProgram();
  ASSERT_GT(program.size(), sizeof(Elf64_Ehdr));
  EXPECT_LT(program.size(), 3u << 20);
  Elf64_Ehdr header;
  memcpy(&header, program.data(), sizeof(header));
  ASSERT_EQ(memcmp(header.e_ident, ELFMAG, SELFMAG), 0);
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, program.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    EXPECT_NE(segment.p_type, static_cast<uint32_t>(PT_INTERP)) << "needs a dynamic loader";
  }
}

TEST(GuestInitImage, TheUsersArchiveFollowsAligned) {
  const std::vector<uint8_t> users = {'u', 's', 'e', 'r'};
  absl::StatusOr<std::vector<uint8_t>> image = WithGuestInit(users);
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_GT(image->size(), GuestInitProgram().size());
  EXPECT_EQ(image->size() % 4, 0u);
  EXPECT_EQ(std::vector<uint8_t>(image->end() - 4, image->end()), users);
  const std::string text(image->begin(), image->end());
  EXPECT_THAT(text, ::testing::HasSubstr("watchsnap-init"));
  EXPECT_THAT(text, ::testing::HasSubstr("dev/console"));
}

TEST(GuestClock, BothClocksMoveForward) {
  const GuestClock first = ReadGuestClock();
  const GuestClock second = ReadGuestClock();
  EXPECT_GT(second.counter, first.counter);
  EXPECT_GT(second.monotonic_ns, first.monotonic_ns);
}

}  // namespace
}  // namespace watchsnap
