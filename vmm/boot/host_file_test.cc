#include "vmm/boot/host_file.h"

#include <unistd.h>

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
