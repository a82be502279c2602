#include "vmm/boot/host_file.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

std::string WriteTemporary(const std::string& content) {
  std::string path = ::testing::TempDir() + "/host_file_test";
  std::ofstream(path) << content;
  return path;
}

TEST(HostFile, ReadsWhatLiesAtAnOffset) {
  auto file = HostFile::Open(WriteTemporary("0123456789"), "kernel");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->size(), 10u);
  std::vector<uint8_t> out(4);
  ASSERT_TRUE(file->ReadAt(6, absl::MakeSpan(out)).ok());
  EXPECT_EQ(std::string(out.begin(), out.end()), "6789");
}

// So large that two threads share it; where the buffer lies and where the file is read from do not matter.
TEST(HostFile, ReadsALargePieceWhole) {
  constexpr size_t kSize = 21 << 20;
  std::string content(kSize, '\0');
  for (size_t i = 0; i < kSize; i += 7) content[i] = static_cast<char>(i * 2654435761u >> 24);
  auto file = HostFile::Open(WriteTemporary(content), "kernel");
  ASSERT_TRUE(file.ok());
  std::vector<uint8_t> out(kSize);
  for (const size_t offset : {0, 1, 4097, 12 << 20}) {
    const absl::Span<uint8_t> into = absl::MakeSpan(out).subspan(offset);
    std::fill(out.begin(), out.end(), 0x5a);
    ASSERT_TRUE(file->ReadAt(offset, into).ok());
    EXPECT_EQ(memcmp(into.data(), content.data() + offset, into.size()), 0) << offset;
  }
  // It was cut short after it was opened: which thread finds out does not matter.
  ASSERT_EQ(truncate((::testing::TempDir() + "/host_file_test").c_str(), 1 << 20), 0);
  EXPECT_THAT(file->ReadAt(0, absl::MakeSpan(out)).message(), HasSubstr("shrank"));
}

TEST(HostFile, RefusesRangesPastTheEndEvenThoseThatWrap) {
  auto file = HostFile::Open(WriteTemporary("0123456789"), "kernel");
  ASSERT_TRUE(file.ok());
  std::vector<uint8_t> out(4);
  for (uint64_t offset : {7ull, 10ull, 11ull, ~0ull, ~0ull - 2, 1ull << 63}) {
    absl::Status status = file->ReadAt(offset, absl::MakeSpan(out));
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << offset;
    EXPECT_THAT(status.message(), HasSubstr("cut short"));
  }
}

TEST(HostFile, NamesAMissingFileAndAFolder) {
  auto missing = HostFile::Open("/no/such/file", "initramfs");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("initramfs file '/no/such/file'"));
  auto folder = HostFile::Open("/", "kernel");
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace watchsnap
