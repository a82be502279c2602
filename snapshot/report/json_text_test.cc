#include "snapshot/report/json_text.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace watchsnap {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST(JsonTextTest, EscapesWhatJsonAsksFor) {
  EXPECT_EQ(Quoted("plain"), R"("plain")");
  EXPECT_EQ(Quoted(""), R"("")");
  EXPECT_EQ(Quoted("a\"b\\c\nd\re\tf"), R"("a\"b\\c\nd\re\tf")");
  EXPECT_EQ(Quoted(std::string_view("\0\x01\x1f\x7f", 4)), "\"\\u0000\\u0001\\u001f\x7f\"");
}

// Every byte at every place of a text that is looked at in words.
TEST(JsonTextTest, EveryByteIsSeenWhereverItStands) {
  for (size_t length = 1; length < 20; ++length) {
    for (size_t at = 0; at < length; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(length, 'a');
        text[at] = static_cast<char>(byte);
        const bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
        const std::string quoted = Quoted(text);
        EXPECT_EQ(quoted == "\"" + text + "\"", plain) << byte << " at " << at << " of " << length;
        EXPECT_EQ(quoted.substr(0, at + 1), "\"" + text.substr(0, at));
        EXPECT_EQ(quoted.substr(quoted.size() - (length - at)), text.substr(at + 1) + "\"");
      }
    }
  }
}

TEST(JsonTextTest, KeepsUtf8AndReplacesWhatIsNot) {
  const std::string_view good = "aä€𝄞z";
  EXPECT_EQ(Quoted(good), "\"" + std::string(good) + "\"");
  EXPECT_TRUE(IsUtf8(good));
  const std::string replacement = "\xEF\xBF\xBD";
  for (const std::string_view bad : {"\xff", "\x80", "\xc0", "\xc1", "\xf5", "\xe2\x82", "\xe2"}) {
    EXPECT_FALSE(IsUtf8(bad));
    std::string expected = "\"x";
    for (size_t i = 0; i < bad.size(); ++i) expected += replacement;
    EXPECT_EQ(Quoted("x" + std::string(bad) + "y"), expected + "y\"");
  }
  EXPECT_FALSE(IsUtf8("\xc0\xaf"));          // overlong
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));  // past U+10FFFF
}

TEST(JsonTextTest, Numbers) {
  std::string out;
  AppendJsonUint(out, ~0ull);
  out += ' ';
  AppendJsonInt(out, INT64_MIN);
  out += ' ';
  AppendJsonHex(out, ~0ull);
  out += ' ';
  AppendJsonHex(out, 0);
  EXPECT_EQ(out, R"(18446744073709551615 -9223372036854775808 "0xffffffffffffffff" "0x0")");
}

TEST(JsonTextTest, HexBothWays) {
  const std::string_view bytes("\x00\xff\x7e", 3);
  std::string back;
  EXPECT_EQ(ToHex(bytes), "00ff7e");
  EXPECT_TRUE(FromHex("00ff7e", back));
  EXPECT_EQ(back, bytes);
  EXPECT_FALSE(FromHex("0", back));
  EXPECT_FALSE(FromHex("0g", back));
}

TEST(JsonTextTest, ObjectsHaveTheirCommas) {
  std::string out;
  JsonObject object(out);
  object.String("a", "b").Uint("c", 1).Hex("d", 16).Null("e").Raw("f", "[1]").Int("g", -1);
  object.Close();
  EXPECT_EQ(out, R"({"a":"b","c":1,"d":"0x10","e":null,"f":[1],"g":-1})");
}

}  // namespace
}  // namespace watchsnap
