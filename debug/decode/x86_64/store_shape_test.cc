#include "debug/decode/store_shape.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using Bytes = std::vector<uint8_t>;

struct Case {
  const char* text;  // as objdump prints it
  Bytes bytes;
  uint32_t store_bytes;
};

class StoringInstruction : public testing::TestWithParam<Case> {};

TEST_P(StoringInstruction, IsSeenAsOneOfItsLength) {
  const Case& c = GetParam();
  const auto shape = DecodeStoreShape(c.bytes, 0xffffffff81000000);
  ASSERT_TRUE(shape.has_value()) << c.text;
  EXPECT_EQ(shape->length, c.bytes.size()) << c.text;
  EXPECT_EQ(shape->store_bytes, c.store_bytes) << c.text;
  EXPECT_TRUE(IsStoringInstructionAt(c.bytes)) << c.text;
  EXPECT_EQ(InstructionLength(c.bytes), c.bytes.size()) << c.text;
}

INSTANTIATE_TEST_SUITE_P(
    EachShape, StoringInstruction,
    testing::Values(
        Case{"mov %rax,(%rdi)", {0x48, 0x89, 0x07}, 8},
        Case{"movl $1,0x10(%rbx)", {0xc7, 0x43, 0x10, 1, 0, 0, 0}, 4},
        Case{"movb $0,(%rax,%rcx,4)", {0xc6, 0x04, 0x88, 0}, 1},
        Case{"add %rdx,0x100(%rip)", {0x48, 0x01, 0x15, 0, 1, 0, 0}, 8},
        Case{"lock incl (%rdi)", {0xf0, 0xff, 0x07}, 4},
        Case{"notq (%rsi)", {0x48, 0xf7, 0x16}, 8},
        Case{"orl $4,(%rdi)", {0x83, 0x0f, 0x04}, 4},
        Case{"xchg %eax,(%rdi)", {0x87, 0x07}, 4},
        Case{"lock cmpxchg %edx,(%rdi)", {0xf0, 0x0f, 0xb1, 0x17}, 4},
        Case{"lock xadd %rax,(%rdi)", {0xf0, 0x48, 0x0f, 0xc1, 0x07}, 8},
        Case{"lock cmpxchg16b (%rdi)", {0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 16},
        Case{"lock bts %rax,(%rdi)", {0xf0, 0x48, 0x0f, 0xab, 0x07}, 8},
        Case{"sete (%rdi)", {0x0f, 0x94, 0x07}, 1},
        Case{"push %rbp", {0x55}, 8},
        Case{"call .+0x105", {0xe8, 0, 1, 0, 0}, 8},
        Case{"popq (%rdi)", {0x8f, 0x07}, 8},
        Case{"stos %rax,(%rdi)", {0x48, 0xab}, 8},
        Case{"movsb", {0xa4}, 1},
        Case{"rep stos %rax,(%rdi)", {0xf3, 0x48, 0xab}, 8},
        Case{"rep movsb", {0xf3, 0xa4}, 1},
        Case{"rep movsq", {0xf3, 0x48, 0xa5}, 8},
        Case{"movups %xmm0,(%rdi)", {0x0f, 0x11, 0x07}, 16},
        Case{"movnti %rax,(%rdi)", {0x48, 0x0f, 0xc3, 0x07}, 8},
        Case{"vmovdqu %ymm0,(%rdi)", {0xc5, 0xfe, 0x7f, 0x07}, 32},
        Case{"vmovdqu64 %zmm0,(%rdi)", {0x62, 0xf1, 0xfe, 0x48, 0x7f, 0x07}, 64},
        Case{"fxsave (%rdi)", {0x0f, 0xae, 0x07}, 512},
        Case{"movabs %eax,0x1122334455667788",
             {0xa3, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}, 4},
        Case{"add %eax,%gs:0x10(%rip)", {0x65, 0x01, 0x05, 0x10, 0, 0, 0}, 4}));

class OtherInstruction : public testing::TestWithParam<Case> {};

TEST_P(OtherInstruction, StoresNothing) {
  const Case& c = GetParam();
  EXPECT_FALSE(DecodeStoreShape(c.bytes, 0).has_value()) << c.text;
  EXPECT_FALSE(IsStoringInstructionAt(c.bytes)) << c.text;
}

INSTANTIATE_TEST_SUITE_P(EachShape, OtherInstruction,
                         testing::Values(Case{"mov (%rdi),%rax", {0x48, 0x8b, 0x07}, 0},
                                         Case{"lea 8(%rdi),%rax", {0x48, 0x8d, 0x47, 8}, 0},
                                         Case{"cmpl $0,(%rdi)", {0x83, 0x3f, 0}, 0},
                                         Case{"test %eax,(%rdi)", {0x85, 0x07}, 0},
                                         Case{"add (%rdi),%rax", {0x48, 0x03, 0x07}, 0},
                                         Case{"bt %rax,(%rdi)", {0x48, 0x0f, 0xa3, 0x07}, 0},
                                         Case{"nopl (%rax)", {0x0f, 0x1f, 0x00}, 0},
                                         Case{"lods (%rsi),%al", {0xac}, 0},
                                         Case{"repz cmpsb", {0xf3, 0xa6}, 0},
                                         Case{"prefetchw (%rdi)", {0x0f, 0x0d, 0x0f}, 0},
                                         Case{"pop %rbp", {0x5d}, 0}, Case{"ret", {0xc3}, 0},
                                         Case{"(bad)", {0x06}, 0},
                                         Case{"a cut-off mov", {0x48, 0x89}, 0},
                                         Case{"no bytes", {}, 0}));

TEST(StoreShape, ASegmentBaseOrABitNumberHidesTheAddress) {
  const Bytes rip_relative = {0x48, 0x01, 0x15, 0, 1, 0, 0};
  EXPECT_EQ(DecodeStoreShape(rip_relative, 0x1000)->address, 0x1000 + 7 + 0x100);
  const Bytes absolute = {0xc7, 0x04, 0x25, 0x00, 0x10, 0x00, 0x83, 1, 0, 0, 0};
  EXPECT_EQ(DecodeStoreShape(absolute, 0)->address, 0xffffffff83001000);
  EXPECT_EQ(DecodeStoreShape(Bytes{0x48, 0x89, 0x07}, 0)->address, std::nullopt);
  EXPECT_EQ(DecodeStoreShape(Bytes{0x65, 0x01, 0x05, 0x10, 0, 0, 0}, 0)->address, std::nullopt);
  const Bytes bit_in_register = {0x48, 0x0f, 0xab, 0x05, 0, 1, 0, 0};
  EXPECT_EQ(DecodeStoreShape(bit_in_register, 0)->address, std::nullopt);
}

TEST(StoreShape, RepeatsAndCallsAreMarked) {
  EXPECT_TRUE(DecodeStoreShape(Bytes{0xf3, 0x48, 0xab}, 0)->rep);
  EXPECT_FALSE(DecodeStoreShape(Bytes{0x48, 0xab}, 0)->rep);
  EXPECT_TRUE(DecodeStoreShape(Bytes{0xe8, 0, 0, 0, 0}, 0)->transfers);
  EXPECT_FALSE(DecodeStoreShape(Bytes{0x55}, 0)->transfers);
}

TEST(StoreShape, InstructionsAreDescribedAsTheKernelPrintsThem) {
  const Bytes add = {0x48, 0x01, 0x15, 0, 1, 0, 0};
  EXPECT_EQ(DescribeInstruction(add, 0xffffffff81000000), "add %rdx, 0xFFFFFFFF81000107");
  EXPECT_EQ(DescribeInstruction(Bytes{0x06}, 0), "(bad)");
}

}  // namespace
}  // namespace watchsnap
