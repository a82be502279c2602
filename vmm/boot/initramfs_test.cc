#include "vmm/boot/initramfs.h"

#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct CpioEntry {
  std::string name;
  uint32_t mode = 0;
  std::string content;
  uint32_t major = 0;
  uint32_t minor = 0;
};

uint32_t Field(const std::string& header, int index) {
  return static_cast<uint32_t>(std::stoul(header.substr(6 + 8 * index, 8), nullptr, 16));
}

// An independent reader of the format; fails the test on anything malformed.
std::vector<CpioEntry> Parse(const std::vector<uint8_t>& archive) {
  std::vector<CpioEntry> entries;
  const std::string bytes(archive.begin(), archive.end());
  size_t at = 0;
  while (true) {
    EXPECT_EQ(at % 4, 0u);
    if (at + 110 > bytes.size()) {
      ADD_FAILURE() << "no trailer";
      return entries;
    }
    const std::string header = bytes.substr(at, 110);
    EXPECT_EQ(header.substr(0, 6), "070701");
    const size_t name_size = Field(header, 11), size = Field(header, 6);
    CpioEntry entry;
    entry.name = bytes.substr(at + 110, name_size - 1);
    EXPECT_EQ(bytes[at + 110 + name_size - 1], 0);
    at = (at + 110 + name_size + 3) / 4 * 4;
    entry.mode = Field(header, 1);
    entry.content = bytes.substr(at, size);
    EXPECT_EQ(entry.content.size(), size);
    entry.major = Field(header, 9);
    entry.minor = Field(header, 10);
    at = (at + size + 3) / 4 * 4;
    if (entry.name == "TRAILER!!!") break;
    entries.push_back(entry);
  }
  EXPECT_EQ(at, bytes.size());
  return entries;
}

std::vector<std::string> Names(const std::vector<CpioEntry>& entries) {
  std::vector<std::string> names;
  for (const CpioEntry& entry : entries) names.push_back(entry.name);
  return names;
}

TEST(Initramfs, HoldsWhatWasAdded) {
  InitramfsBuilder builder;
  ASSERT_TRUE(builder.AddDirectory("/dev", 0700).ok());
  ASSERT_TRUE(builder.AddDevice("dev/console", DeviceKind::kCharacter, 5, 1, 0600).ok());
  ASSERT_TRUE(builder.AddFile("init", "#!/bin/sh\n", 0755).ok());
  ASSERT_TRUE(builder.AddSymlink("bin/sh", "busybox").ok());
  const std::vector<CpioEntry> entries = Parse(std::move(builder).Build());
  ASSERT_THAT(Names(entries), ElementsAre("dev", "dev/console", "init", "bin", "bin/sh"));
  EXPECT_EQ(entries[0].mode, S_IFDIR | 0700u);
  EXPECT_EQ(entries[1].mode, S_IFCHR | 0600u);
  EXPECT_EQ(entries[1].major, 5u);
  EXPECT_EQ(entries[1].minor, 1u);
  EXPECT_EQ(entries[2].mode, S_IFREG | 0755u);
  EXPECT_EQ(entries[2].content, "#!/bin/sh\n");
  EXPECT_EQ(entries[3].mode, S_IFDIR | 0755u);  // added as the parent of what follows
  EXPECT_EQ(entries[4].mode, S_IFLNK | 0777u);
  EXPECT_EQ(entries[4].content, "busybox");
}

TEST(Initramfs, EveryContentLengthStaysAligned) {
  InitramfsBuilder builder;
  for (int length = 0; length < 9; ++length) {
    ASSERT_TRUE(builder
                    .AddFile(std::string(static_cast<size_t>(length) + 1, 'n'),
                             std::string(static_cast<size_t>(length), 'c'))
                    .ok());
  }
  const std::vector<CpioEntry> entries = Parse(std::move(builder).Build());
  ASSERT_EQ(entries.size(), 9u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(entries[i].content.size(), i);
}

TEST(Initramfs, SameCallsSameBytesAndArchivesConcatenate) {
  auto build = [](std::string_view content) {
    InitramfsBuilder builder;
    EXPECT_TRUE(builder.AddFile("a/b", content).ok());
    return std::move(builder).Build();
  };
  EXPECT_EQ(build("x"), build("x"));
  EXPECT_EQ(build("xyzzy").size() % 4, 0u);
}

TEST(Initramfs, RefusesBadAndRepeatedPaths) {
  InitramfsBuilder builder;
  for (std::string_view path : {"", "/", "a//b", "a/../b", ".", "a/."}) {
    EXPECT_EQ(builder.AddFile(path, "x").code(), absl::StatusCode::kInvalidArgument) << path;
  }
  EXPECT_FALSE(builder.AddFile(std::string(5000, 'a'), "x").ok());
  EXPECT_FALSE(builder.AddSymlink("link", "").ok());
  ASSERT_TRUE(builder.AddFile("a", "x").ok());
  EXPECT_EQ(builder.AddFile("/a", "y").code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(Names(Parse(std::move(builder).Build())), ElementsAre("a"));
}

TEST(Initramfs, HostFilesKeepTheirBytesAndAMissingOneChangesNothing) {
  const std::string path = ::testing::TempDir() + "/initramfs_test_file";
  std::string content(100'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  std::ofstream(path, std::ios::binary) << content;
  InitramfsBuilder builder;
  absl::Status missing = builder.AddHostFile("deep/er/x", "/no/such/file", 0644);
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("/no/such/file"));
  ASSERT_TRUE(builder.AddHostFile("bin/tool", path, 0755).ok());
  const std::vector<CpioEntry> entries = Parse(std::move(builder).Build());
  ASSERT_THAT(Names(entries), ElementsAre("bin", "bin/tool"));
  EXPECT_EQ(entries[1].content, content);
}

}  // namespace
}  // namespace watchsnap
