#include "debug/symbols/kernel_identity.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/symbols/elf_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kNotes = 0xffffffff82a56e48;
constexpr uint64_t kSlide = uint64_t{0x12} << 21;

std::shared_ptr<const KernelSymbols> Kernel(ElfBuilder builder) {
  auto elf = ElfFile::FromBytes("vmlinux", builder.Build());
  EXPECT_TRUE(elf.ok()) << elf.status();
  auto kernel = KernelSymbols::FromElf(*std::move(elf));
  EXPECT_TRUE(kernel.ok()) << kernel.status();
  return *std::move(kernel);
}

// Guest memory with `notes` at the notes' place, slid by kSlide, and nothing else.
auto GuestWith(std::vector<uint8_t> notes) {
  return [notes = std::move(notes)](uint64_t kva, absl::Span<uint8_t> out) {
    if (kva != kNotes + kSlide) return absl::OutOfRangeError("not mapped");
    std::memcpy(out.data(), notes.data(), std::min(out.size(), notes.size()));
    return absl::OkStatus();
  };
}

TEST(VerifyBuildId, TheSameBuildIsAccepted) {
  const auto kernel = Kernel(ElfBuilder().AddBuildId("0123456789", kNotes));
  EXPECT_TRUE(VerifyBuildId(*kernel, kSlide, GuestWith(ElfBuilder::Notes("0123456789"))).ok());
}

TEST(VerifyBuildId, AnotherBuildIsRefusedWithBothIds) {
  const auto kernel = Kernel(ElfBuilder().AddBuildId("\x01\x02\x03\x04", kNotes));
  const absl::Status status =
      VerifyBuildId(*kernel, kSlide, GuestWith(ElfBuilder::Notes("\x0a\x0b\x0c\x0d")));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("running kernel's build ID is 0a0b0c0d"));
  EXPECT_THAT(status.message(), HasSubstr("file's is 01020304"));
}

TEST(VerifyBuildId, MemoryWithoutNotesIsAnotherBuild) {
  const auto kernel = Kernel(ElfBuilder().AddBuildId("0123456789", kNotes));
  const absl::Status status = VerifyBuildId(*kernel, kSlide, GuestWith({0, 0, 0, 0}));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("there is no build ID"));
}

TEST(VerifyBuildId, UnreadableMemoryIsSaidToBe) {
  const auto kernel = Kernel(ElfBuilder().AddBuildId("0123456789", kNotes));
  const absl::Status status =
      VerifyBuildId(*kernel, 0, GuestWith(ElfBuilder::Notes("0123456789")));
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(status.message(), HasSubstr("cannot read the running kernel's notes"));
}

TEST(VerifyBuildId, AFileWithoutAnIdCannotBeCompared) {
  const absl::Status status = VerifyBuildId(*Kernel(ElfBuilder()), 0, GuestWith({}));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("has no GNU build ID"));
}

}  // namespace
}  // namespace watchsnap
