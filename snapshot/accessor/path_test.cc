#include "snapshot/accessor/path.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

Path Steps(std::string_view text) {
  absl::StatusOr<Path> path = ParsePath(text);
  EXPECT_TRUE(path.ok()) << path.status();
  return path.ok() ? *path : Path();
}

TEST(PathTest, NamesIndexesAndQuotedNames) {
  const Path expected = {"captures", uint64_t{3}, "maps", "mini.bss", "value", "nr_enqueued"};
  EXPECT_EQ(Steps("captures[3].maps[\"mini.bss\"].value.nr_enqueued"), expected);
  EXPECT_EQ(Steps("captures[3].maps['mini.bss'].value.nr_enqueued"), expected);
  EXPECT_EQ(Steps(""), Path());
  EXPECT_EQ(Steps("[0][1]"), (Path{uint64_t{0}, uint64_t{1}}));
  EXPECT_EQ(Steps("[\"a\"].b"), (Path{"a", "b"}));
  EXPECT_EQ(Steps("scx-1#2.x y"), (Path{"scx-1#2", "x y"}));
  EXPECT_EQ(Steps(R"(["a\"b\\c"])"), (Path{"a\"b\\c"}));
}

TEST(PathTest, MistakesNameTheirPlace) {
  const auto expect = [](std::string_view text, const char* words) {
    EXPECT_THAT(std::string(ParsePath(text).status().message()), HasSubstr(words)) << text;
  };
  expect("a..b", "at its byte 2 a name was expected");
  expect(".a", "at its byte 0");
  expect("a.", "a name was expected");
  expect("a[", "a number or a quoted name");
  expect("a[x]", "a number or a quoted name");
  expect("a[1", "a ']' was expected");
  expect("a[1]b", "a dot or a bracket");
  expect("a[\"b", "the quote is not closed");
  expect("a[99999999999999999999]", "a number");
  expect("a]", "maps[\"mini.bss\"]");
}

TEST(PathTest, WhatIsJoinedIsParsedBack) {
  for (const char* name : {"a", "mini.bss", "a\"b", "a\\", "", "x[1]", "ä", "it's"}) {
    EXPECT_EQ(Steps(MemberPath("maps", name)), (Path{"maps", name}));
    EXPECT_EQ(Steps(MemberPath("", name)), (Path{name}));
  }
  EXPECT_EQ(ElementPath("a", 3), "a[3]");
}

}  // namespace
}  // namespace watchsnap
