#include "snapshot/report/sidecar_path.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace watchsnap {
namespace {

TEST(SidecarPathTest, PlainNamesStayAsTheyAre) {
  EXPECT_EQ(SidecarPath("/tmp/out", "Watches", "jiffies_64"),
            "/tmp/out/Watches.jiffies_64.snapshots.jsonl");
  EXPECT_EQ(SidecarPath("/tmp/out/", "T", "a.b-c_9"), "/tmp/out/T.a.b-c_9.snapshots.jsonl");
  EXPECT_EQ(SidecarPath("", "T", "x"), "T.x.snapshots.jsonl");
}

TEST(SidecarPathTest, EverythingElseIsPercentEncoded) {
  EXPECT_EQ(EncodeForFileName("../a b%/ä"), "..%2Fa%20b%25%2F%C3%A4");
  EXPECT_EQ(EncodeForFileName(std::string(1, '\0')), "%00");
}

TEST(SidecarPathTest, DifferentTagsHaveDifferentFiles) {
  std::set<std::string> names;
  std::set<std::string> tags;
  const auto add = [&](const std::string& tag) {
    tags.insert(tag);
    const std::string name = SidecarFileName("Test", tag);
    EXPECT_LE(name.size(), 255u);
    EXPECT_EQ(name.find('/'), std::string::npos);
    names.insert(name);
  };
  for (int a = 0; a < 256; ++a) {
    add(std::string(1, static_cast<char>(a)));
    for (int b = 0; b < 256; b += 5) add({static_cast<char>(a), static_cast<char>(b)});
  }
  for (const char* tag : {"", "a/b", "a%2Fb", "a%252Fb", "%~", "A", "A."}) add(tag);
  // Long ones, alike but for their ends, and around the limit.
  for (size_t length = 200; length < 280; ++length) {
    add(std::string(length, 'x'));
    add(std::string(length, 'x') + "/");
    add(std::string(length / 3, '/') + "y");
  }
  EXPECT_EQ(names.size(), tags.size());
}

TEST(SidecarPathTest, LongNamesAreShortenedWithAHash) {
  const std::string at_limit(255 - 4 - 1 - 16, 'x');
  EXPECT_EQ(SidecarFileName("Test", at_limit), "Test." + at_limit + ".snapshots.jsonl");
  const std::string name = SidecarFileName("Test", at_limit + "x");
  EXPECT_EQ(name.size(), 255u);
  EXPECT_NE(name.find("x%~"), std::string::npos);
  const std::string long_test = SidecarFileName(std::string(300, 't'), std::string(60'000, '/'));
  EXPECT_LE(long_test.size(), 255u);
  EXPECT_NE(long_test.find("%2F%~"), std::string::npos);  // not within an escape
}

}  // namespace
}  // namespace watchsnap
