#include "debug/decode/store_operands.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

struct Case {
  const char* what;
  std::vector<uint8_t> bytes;
  uint64_t address;
  uint32_t stored;
};

VcpuRegisters Registers() {
  VcpuRegisters registers;
  registers.regs.rip = 0xffffffff81000000;
  registers.regs.rax = 0xffff888000000100;
  registers.regs.rbx = 0x10;
  registers.regs.rcx = static_cast<uint64_t>(-65);
  registers.regs.rdi = 0xffff888000002000;
  registers.regs.rsp = 0xffff888000004000;
  registers.sregs.gs.base = 0xffff88801f000000;
  return registers;
}

TEST(StoreOperandsTest, FindsTheAddressOfEveryShape) {
  // Encodings by GNU as.
  const std::vector<Case> cases = {
      {"mov %ecx, (%rax)", {0x89, 0x08}, 0xffff888000000100, 4},
      {"mov %rcx, 8(%rax,%rbx,4)", {0x48, 0x89, 0x4c, 0x98, 0x08}, 0xffff888000000148, 8},
      {"incl 0x100(%rip)", {0xff, 0x05, 0x00, 0x01, 0x00, 0x00}, 0xffffffff81000106, 4},
      {"incl %gs:0x20", {0x65, 0xff, 0x04, 0x25, 0x20, 0, 0, 0}, 0xffff88801f000020, 4},
      {"lock cmpxchg %rcx, (%rax)", {0xf0, 0x48, 0x0f, 0xb1, 0x08}, 0xffff888000000100, 8},
      {"movups %xmm0, (%rax)", {0x0f, 0x11, 0x00}, 0xffff888000000100, 16},
      {"rep stosb", {0xf3, 0xaa}, 0xffff888000002000, 1},
      {"movsq", {0x48, 0xa5}, 0xffff888000002000, 8},
      {"push %rax", {0x50}, 0xffff888000003ff8, 8},
      {"call *%rax", {0xff, 0xd0}, 0xffff888000003ff8, 8},
      {"bts %rcx, (%rax)", {0x48, 0x0f, 0xab, 0x08}, 0xffff8880000000f0, 8},
      {"bts $1, (%rax)", {0x48, 0x0f, 0xba, 0x28, 0x01}, 0xffff888000000100, 8},
      {"lock cmpxchg16b (%rax)", {0xf0, 0x48, 0x0f, 0xc7, 0x08}, 0xffff888000000100, 16},
      {"vmovups %ymm0, (%rax)", {0xc5, 0xfc, 0x11, 0x00}, 0xffff888000000100, 32},
      {"fxsave (%rax)", {0x0f, 0xae, 0x00}, 0xffff888000000100, 512},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const auto found = DecodeStoreOperands(c.bytes, Registers());
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->length, c.bytes.size());
    ASSERT_EQ(found->count, 1);
    EXPECT_EQ(found->operands[0].address, c.address);
    EXPECT_EQ(found->operands[0].bytes, c.stored);
  }
}

TEST(StoreOperandsTest, TellsRepeatedAndTransferringOnes) {
  EXPECT_TRUE(DecodeStoreOperands({{0xf3, 0xab}}, Registers())->rep);
  EXPECT_FALSE(DecodeStoreOperands({{0xab}}, Registers())->rep);
  EXPECT_TRUE(DecodeStoreOperands({{0xff, 0xd0}}, Registers())->transfers);
}

TEST(StoreOperandsTest, AnInstructionThatOnlyReadsHasNone) {
  const auto found = DecodeStoreOperands({{0x8b, 0x08}}, Registers());  // mov (%rax), %ecx
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->count, 0);
}

TEST(StoreOperandsTest, WhatCannotBeToldIsNotGuessed) {
  EXPECT_FALSE(DecodeStoreOperands({{0x06}}, Registers()).has_value()) << "no instruction";
  EXPECT_FALSE(DecodeStoreOperands({{0x0f, 0xae, 0x20}}, Registers()).has_value()) << "xsave";
  EXPECT_FALSE(DecodeStoreOperands({}, Registers()).has_value());
}

}  // namespace
}  // namespace watchsnap
