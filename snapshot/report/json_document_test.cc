#include "snapshot/report/json_document.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

TEST(JsonDocumentTest, EveryKindIsReadAsItselfOnly) {
  JsonParser parser;
  const auto document = parser.Parse(
      R"({"u":18446744073709551615,"i":-3,"d":2.5,"t":true,"n":null,"s":"a\"b","a":[1,[2]],"o":{}})");
  ASSERT_TRUE(document.ok()) << document.status();
  const JsonNode root = (*document)->root();
  EXPECT_EQ(root.size(), 8u);
  EXPECT_EQ(root.Member("u")->Uint(), ~0ull);
  EXPECT_EQ(root.Member("u")->Int(), std::nullopt);
  EXPECT_EQ(root.Member("i")->Int(), -3);
  EXPECT_EQ(root.Member("i")->Uint(), std::nullopt);
  EXPECT_EQ(root.Member("i")->Double(), -3.0);
  EXPECT_EQ(root.Member("d")->Double(), 2.5);
  EXPECT_EQ(root.Member("d")->Uint(), std::nullopt);
  EXPECT_EQ(root.Member("t")->Bool(), true);
  EXPECT_TRUE(root.Member("n")->is_null());
  EXPECT_EQ(root.Member("s")->String(), "a\"b");
  EXPECT_EQ(root.Member("s")->Uint(), std::nullopt);
  EXPECT_EQ(root.Member("a")->Item(1)->Item(0)->Uint(), 2u);
  EXPECT_FALSE(root.Member("a")->Item(2).has_value());
  EXPECT_FALSE(root.Member("a")->Member("x").has_value());
  EXPECT_FALSE(root.Member("x").has_value());
  EXPECT_FALSE(root.Item(0).has_value());
  EXPECT_EQ(root.Member("a")->ToJson(), "[1,[2]]");
  std::string names;
  root.ForEachMember([&](std::string_view name, JsonNode) {
    names += name;
    return name != "t";
  });
  EXPECT_EQ(names, "uidt");
}

TEST(JsonDocumentTest, ADocumentOutlivesItsParserAndItsText) {
  std::shared_ptr<const JsonDocument> kept;
  {
    JsonParser parser;
    std::string text = R"({"name":"value"})";
    kept = *parser.Parse(text);
    text.assign(text.size(), 'x');
    ASSERT_TRUE(parser.Parse("[1,2,3]").ok());
  }
  EXPECT_EQ(kept->root().Member("name")->String(), "value");
}

TEST(JsonDocumentTest, WhatIsNoDocumentIsAnErrorThatShowsIt) {
  JsonParser parser;
  for (const char* text : {"", "{", "[1] [2]", "{\"a\":oops}", "\x01\xff"}) {
    EXPECT_EQ(parser.Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(parser.Parse("{\"a\":oops}").status().message()),
              ::testing::HasSubstr("oops"));
  const std::string deep(100'000, '[');
  EXPECT_FALSE(parser.Parse(deep + std::string(100'000, ']')).ok());
}

}  // namespace
}  // namespace watchsnap
