// Member paths, typed reads and rendering, over one kernel-like struct and bytes of it.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "debug/types/member_path.h"
#include "debug/types/value_reader.h"
#include "debug/types/value_renderer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ValueTest : public testing::Test {
 protected:
  ValueTest() {
    i32_ = btf_.Int("int", 4, BTF_INT_SIGNED);
    u32_ = btf_.Int("unsigned int", 4);
    u64_ = btf_.Typedef("u64", btf_.Int("long unsigned int", 8));
    char_ = btf_.Int("char", 1, BTF_INT_SIGNED);
    u8_ = btf_.Int("unsigned char", 1);
    bool_ = btf_.Int("_Bool", 1, BTF_INT_BOOL);
    double_ = btf_.Float("double", 8);
    policy_ = btf_.Enum("policy", 4, true, {{"NORMAL", 0}, {"EXT", 7}, {"NONE", -1}});
    const uint32_t pair =
        btf_.Struct("pair", 8, {{"a", i32_, 0}, {"b", btf_.Refer(BTF_KIND_CONST, i32_), 32}});
    const uint32_t anonymous_struct = btf_.Struct("", 8, {{"low", u32_, 0}, {"high", u32_, 32}});
    const uint32_t anonymous_union =
        btf_.Union("", 8, {{"whole", u64_, 0}, {"", anonymous_struct, 0}});
    task_ = btf_.Struct("task", 112,
                        {{"pid", i32_, 0},                            // byte 0
                         {"flags", u32_, 32, 3},                      // byte 4, bits 0-2
                         {"signed_bits", i32_, 35, 5},                // bits 3-7
                         {"on", bool_, 40, 1},                        // byte 5
                         {"across", u64_, 41, 40},                    // to byte 10, bit 1
                         {"comm", btf_.Array(char_, 16), 96},         // byte 12
                         {"policy", policy_, 224},                    // byte 28
                         {"", anonymous_union, 256},                  // byte 32
                         {"pairs", btf_.Array(pair, 4), 320},         // byte 40
                         {"parent", btf_.Pointer(task_ = 0), 576},    // byte 72
                         {"load", double_, 640},                      // byte 80
                         {"bytes", btf_.Array(u8_, 4), 704},          // byte 88
                         {"wide", btf_.Int("__int128", 16), 768},     // byte 96
                         {"tail", btf_.Array(pair, 0), 896}});        // byte 112
    const uint32_t variable = btf_.Variable("current", task_);
    section_ = btf_.DataSection(".bss", 128, {{variable, 16, 112}});
    auto graph = ReadBtf(btf_.Bytes(), {.name = "test's BTF"});
    EXPECT_TRUE(graph.ok()) << graph.status();
    graph_ = *graph;

    bytes_.resize(128);
    Put<int32_t>(0, -42);
    bytes_[4] = 0b10110'101;                     // flags 5, signed_bits -10
    const uint64_t packed = 1 | uint64_t{0x89abcdef12} << 1;  // on, across
    memcpy(&bytes_[5], &packed, 6);
    memcpy(&bytes_[12], "wor\"k\xff", 6);
    Put<int32_t>(28, 7);
    Put<uint64_t>(32, 0x1111111122222222);
    for (int i = 0; i < 8; ++i) Put<int32_t>(40 + 4 * i, i);
    Put<uint64_t>(72, 0xffff888100004000);
    Put<double>(80, 1.5);
    for (int i = 0; i < 4; ++i) bytes_[88 + i] = static_cast<uint8_t>(250 + i);
    Put<uint64_t>(96, 5);
    for (int i = 0; i < 4; ++i) Put<int32_t>(112 + 4 * i, 100 + i);
  }

  template <typename T>
  void Put(size_t at, T value) {
    memcpy(&bytes_[at], &value, sizeof(value));
  }
  MemberPlace At(std::string_view path) {
    const auto place = FindMember(*graph_, task_, path);
    EXPECT_TRUE(place.ok()) << path << ": " << place.status();
    return place.value_or(MemberPlace());
  }
  std::string PathError(std::string_view path) {
    return std::string(FindMember(*graph_, task_, path).status().message());
  }

  BtfBuilder btf_;
  uint32_t i32_, u32_, u64_, char_, u8_, bool_, double_, policy_, task_ = 0, section_;
  std::shared_ptr<const TypeGraph> graph_;
  std::vector<uint8_t> bytes_;
};

TEST_F(ValueTest, PathsLeadToPlaces) {
  EXPECT_EQ(At("pid").bit_offset, 0u);
  EXPECT_EQ(At("pid").bit_size, 32u);
  EXPECT_EQ(At("across"),
            (MemberPlace{.bit_offset = 41, .bit_size = 40, .type = u64_, .is_bitfield = true}));
  EXPECT_EQ(At("high").bit_offset, 288u);
  EXPECT_EQ(At("pairs").bit_size, 256u);
  EXPECT_EQ(At("pairs[3].b").bit_offset, (40u + 28) * 8);
  EXPECT_EQ(At("tail[1].a").bit_offset, 120u * 8);
  EXPECT_EQ(At("").bit_size, 112u * 8);
  const auto variable = FindMember(*graph_, section_, "current.pairs[1].a");
  ASSERT_TRUE(variable.ok()) << variable.status();
  EXPECT_EQ(variable->bit_offset, (16u + 48) * 8);
  const auto step = FindMemberToPointer(*graph_, task_, "parent.comm[3]");
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->rest, "comm[3]");
  EXPECT_EQ(step->place, At("parent"));
}

TEST_F(ValueTest, WrongPathsSayWhatWouldHaveWorked) {
  EXPECT_THAT(PathError("pyd"), AllOf(HasSubstr("struct task has no member 'pyd'; it has pid, "),
                                      HasSubstr("high")));
  EXPECT_THAT(PathError("pairs[1].c"), HasSubstr("it has a, b"));
  EXPECT_THAT(PathError("pairs[4]"), HasSubstr("indexes are 0 to 3"));
  EXPECT_THAT(PathError("pairs.a"), HasSubstr("[0].a"));
  EXPECT_THAT(PathError("pid.x"), HasSubstr("has none"));
  EXPECT_THAT(PathError("pid[0]"), HasSubstr("not an array"));
  EXPECT_THAT(PathError("parent.pid"), HasSubstr("behind a pointer"));
  EXPECT_THAT(PathError("tail[999999999999999999]"), HasSubstr("beyond all memory"));
  for (const char* malformed : {".pid", "pid.", "pairs[", "pairs[]", "pairs[x]", "pairs[1]a",
                                "pairs[-1]", "a..b", "pairs[1].[2]"}) {
    EXPECT_THAT(PathError(malformed), testing::Not(IsEmpty())) << malformed;
  }
}

TEST_F(ValueTest, NumbersAreReadAsTheirTypes) {
  const auto get_unsigned = [&](const char* path) {
    return ReadUnsigned(*graph_, bytes_, At(path));
  };
  EXPECT_EQ(*ReadSigned(*graph_, bytes_, At("pid")), -42);
  EXPECT_THAT(get_unsigned("pid").status().message(), HasSubstr("-42"));
  EXPECT_EQ(*get_unsigned("flags"), 5u);
  EXPECT_EQ(*ReadSigned(*graph_, bytes_, At("signed_bits")), -10);
  EXPECT_EQ(*get_unsigned("across"), 0x89abcdef12u);
  EXPECT_TRUE(*ReadBool(*graph_, bytes_, At("on")));
  EXPECT_EQ(*get_unsigned("high"), 0x11111111u);
  EXPECT_EQ(*get_unsigned("whole"), 0x1111111122222222u);
  EXPECT_EQ(*get_unsigned("parent"), 0xffff888100004000u);
  EXPECT_THAT(ReadSigned(*graph_, bytes_, At("parent")).status().message(), HasSubstr("unsigned"));
  EXPECT_EQ(*get_unsigned("wide"), 5u);
  EXPECT_EQ(*ReadFloat(*graph_, bytes_, At("load")), 1.5);
  EXPECT_EQ(*ReadFloat(*graph_, bytes_, At("pid")), -42.0);
  EXPECT_FALSE(ReadFloat(*graph_, bytes_, At("parent")).ok());
  EXPECT_EQ(*get_unsigned("policy"), 7u);
  EXPECT_EQ(*ReadString(*graph_, bytes_, At("policy")), "EXT");
  EXPECT_EQ(*ReadString(*graph_, bytes_, At("comm")), "wor\"k\xff");
}

TEST_F(ValueTest, WrongReadsAreRefusedWithWhatIsThere) {
  EXPECT_THAT(ReadUnsigned(*graph_, bytes_, At("pairs[0]")).status().message(),
              AllOf(HasSubstr("struct pair"), HasSubstr("a, b")));
  EXPECT_THAT(ReadUnsigned(*graph_, bytes_, At("load")).status().message(), HasSubstr("double"));
  EXPECT_THAT(ReadString(*graph_, bytes_, At("pid")).status().message(), HasSubstr("int"));
  EXPECT_THAT(ReadString(*graph_, bytes_, At("bytes")).status().message(),
              HasSubstr("unsigned char"));
  Put<int32_t>(28, 3);
  EXPECT_THAT(ReadString(*graph_, bytes_, At("policy")).status().message(), HasSubstr("3"));
  const Bytes few = absl::MakeConstSpan(bytes_).first(30);
  EXPECT_EQ(ReadUnsigned(*graph_, few, At("policy")).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(ReadString(*graph_, absl::MakeConstSpan(bytes_).first(19), At("comm")).ok());
  EXPECT_FALSE(ReadString(*graph_, absl::MakeConstSpan(bytes_).first(17), At("comm")).ok());
}

TEST_F(ValueTest, EveryBitRangeIsLoadedAsBitByBit) {
  for (uint64_t offset = 0; offset < 24; ++offset) {
    for (uint64_t size = 0; size <= 64; ++size) {
      uint64_t expected = 0;
      for (uint64_t i = 0; i < size; ++i) {
        const uint64_t bit = offset + i;
        expected |= uint64_t{(bytes_[bit / 8] >> (bit % 8)) & 1u} << i;
      }
      EXPECT_EQ(LoadBits(bytes_, offset, size), expected) << offset << " " << size;
    }
  }
  EXPECT_EQ(LoadBits(bytes_, 127 * 8, 9), std::nullopt);
  EXPECT_EQ(LoadBits(bytes_, ~uint64_t{0}, 64), std::nullopt);
}

TEST_F(ValueTest, AWholeStructIsRendered) {
  const RenderedValue value = RenderValue(*graph_, task_, bytes_);
  EXPECT_EQ(value.json,
            R"({"pid":-42,"flags":5,"signed_bits":-10,"on":true,"across":591292919570,)"
            R"("comm":"wor\"k\u00ff","policy":"EXT","whole":1229782938533634594,)"
            R"("low":572662306,"high":286331153,)"
            R"("pairs":[{"a":0,"b":1},{"a":2,"b":3},{"a":4,"b":5},{"a":6,"b":7}],)"
            R"("parent":"0xffff888100004000","load":1.5,"bytes":[250,251,252,253],)"
            R"("wide":"0x00000000000000000000000000000005",)"
            R"("tail":[{"a":100,"b":101},{"a":102,"b":103}]})");
  EXPECT_THAT(value.degraded, IsEmpty());
  EXPECT_EQ(RenderValue(*graph_, At("pairs[2]"), bytes_).json, R"({"a":4,"b":5})");
  EXPECT_EQ(RenderValue(*graph_, policy_, {bytes_.data(), 4}).json, "-42");
}

TEST_F(ValueTest, ADataSectionIsRenderedByItsVariables) {
  std::vector<uint8_t> section(16);
  section.insert(section.end(), bytes_.begin(), bytes_.end());
  EXPECT_THAT(RenderValue(*graph_, section_, section).json,
              testing::StartsWith(R"({"current":{"pid":-42,)"));
}

TEST_F(ValueTest, WhatWasNotCopiedIsNullAndSaid) {
  const RenderedValue value =
      RenderValue(*graph_, task_, absl::MakeConstSpan(bytes_).first(50), {.max_degraded = 4});
  EXPECT_THAT(value.json, HasSubstr(R"("pairs":[{"a":0,"b":1},{"a":null,"b":null}],"parent":null)"));
  ASSERT_EQ(value.degraded.size(), 5u);
  EXPECT_EQ(value.degraded[0].what, "pairs[1].a");
  EXPECT_THAT(value.degraded[0].why, HasSubstr("48 to 51"));
  EXPECT_EQ(value.degraded[1].what, "pairs[1].b");
  EXPECT_THAT(value.degraded[2].why, HasSubstr("elements 2 to 3"));
  EXPECT_EQ(value.degraded[3].what, "parent");
  EXPECT_THAT(value.degraded[4].why, HasSubstr("and 3 more"));
  EXPECT_EQ(RenderValue(*graph_, task_, {}).json, "null");
}

TEST_F(ValueTest, LimitsCutAndSaySo) {
  const auto cut = [&](const RenderLimits& limits) {
    return RenderValue(*graph_, task_, bytes_, limits);
  };
  const RenderedValue elements = cut({.max_elements = 2});
  EXPECT_THAT(elements.json, HasSubstr(R"("pairs":[{"a":0,"b":1},{"a":2,"b":3}],)"));
  EXPECT_EQ(elements.degraded[0],
            (RenderedValue::Shortfall{"pairs", "elements 2 to 3 are left out: the limit is 2"}));
  const RenderedValue text = cut({.max_string = 3});
  EXPECT_THAT(text.json, HasSubstr(R"("comm":"wor",)"));
  EXPECT_EQ(text.degraded[0].what, "comm");
  const RenderedValue depth = cut({.max_depth = 2});
  EXPECT_THAT(depth.json, HasSubstr(R"("pairs":[null,null,null,null])"));
  const RenderedValue values = cut({.max_values = 3});
  EXPECT_EQ(values.json, R"({"pid":-42,"flags":5,"signed_bits":-10})");
  EXPECT_EQ(values.degraded.size(), 1u);
  const RenderedValue json = cut({.max_json = 10});
  EXPECT_EQ(json.json, R"({"pid":-42})");
  EXPECT_EQ(json.degraded.size(), 1u);
}

TEST_F(ValueTest, OddValuesStayValidJson) {
  Put<double>(80, std::numeric_limits<double>::infinity());
  bytes_[12] = 1;
  const std::string json = RenderValue(*graph_, task_, bytes_).json;
  EXPECT_THAT(json, HasSubstr(R"("load":"Infinity")"));
  EXPECT_THAT(json, HasSubstr(R"("comm":"\u0001or\"k)"));
  EXPECT_EQ(RenderValue(*graph_, bool_, {&bytes_[88], 1}).json, "250");
}

// Sizes that a hostile file can claim: 2^32 elements of 2^32 elements, all empty.
TEST(HostileValueTest, ClaimedSizesCostNothing) {
  BtfBuilder btf;
  const uint32_t empty = btf.Struct("empty", 0, {});
  const uint32_t many = btf.Array(empty, 0xffffffff);
  const uint32_t more = btf.Array(many, 0xffffffff);
  const uint32_t big = btf.Struct("big", 0xffffffff, {{"x", more, 0}, {"self", 4, 0}, {"", 4, 0}});
  ASSERT_EQ(big, 4u);
  const auto graph = ReadBtf(btf.Bytes());
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::vector<uint8_t> bytes(16);
  for (const uint32_t type : {many, more, big}) {
    const RenderedValue value = RenderValue(**graph, type, bytes, {.max_values = 1000});
    EXPECT_LT(value.json.size(), 100'000u);
    EXPECT_FALSE(value.degraded.empty());
  }
}

// Before members had a bitfield size, an int of fewer bits said it (pahole 1.12 and older).
TEST(OldBitfieldTest, AnIntOfFewerBitsIsABitfield) {
  BtfBuilder btf;
  const uint32_t bits = btf.Int("unsigned int", 4, 0, 3);
  const uint32_t type = btf.Struct("old", 4, {{"a", bits, 0}, {"b", bits, 3}});
  const auto graph = ReadBtf(btf.Bytes());
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::vector<uint8_t> bytes = {0b101'110, 0, 0, 0};
  EXPECT_EQ(RenderValue(**graph, type, bytes).json, R"({"a":6,"b":5})");
}

}  // namespace
}  // namespace watchsnap
