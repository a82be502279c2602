// The stock kernel's own vmlinux: what the scenarios watch resolves, and what must not does not.
//   stock_kernel_test VMLINUX
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/symbols/kernel_identity.h"
#include "debug/symbols/kernel_symbols.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::Contains;
using testing::HasSubstr;

std::string& VmlinuxPath() {
  static std::string path;
  return path;
}

class StockKernelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto kernel = KernelSymbols::Open(VmlinuxPath());
    ASSERT_TRUE(kernel.ok()) << kernel.status();
    kernel_ = *std::move(kernel);
  }
  static void TearDownTestSuite() { kernel_.reset(); }
  void SetUp() override { ASSERT_NE(kernel_, nullptr); }

  static std::shared_ptr<const KernelSymbols> kernel_;
};

std::shared_ptr<const KernelSymbols> StockKernelTest::kernel_;

TEST_F(StockKernelTest, TheTickCounterIsEightBytes) {
  const auto jiffies = kernel_->ResolveData("jiffies_64");
  ASSERT_TRUE(jiffies.ok()) << jiffies.status();
  EXPECT_EQ(jiffies->size, 8u);
  EXPECT_EQ(WatchLength(*jiffies), 8u);
  const auto alias = kernel_->ResolveData("jiffies");
  ASSERT_TRUE(alias.ok()) << alias.status();
  EXPECT_EQ(alias->address, jiffies->address);
}

TEST_F(StockKernelTest, WhatCannotBeWatchedIsRefused) {
  EXPECT_THAT(kernel_->ResolveData("current_task").status().message(), HasSubstr("per-CPU"));
  EXPECT_THAT(kernel_->ResolveData("do_timer").status().message(), HasSubstr("function"));
  EXPECT_THAT(kernel_->ResolveData("__key.0").status().message(), HasSubstr("ambiguous"));
  EXPECT_THAT(kernel_->NearMisses("jifies_64", 3), Contains("jiffies_64"));
}

TEST_F(StockKernelTest, EveryAddressOfAFunctionHasItsName) {
  const uint64_t start = *kernel_->AddressOf("do_timer");
  const uint64_t size = kernel_->Symbolize(start)->size;
  ASSERT_GT(size, 0u);
  for (uint64_t offset = 0; offset < size; ++offset) {
    const auto symbol = kernel_->Symbolize(start + offset);
    ASSERT_TRUE(symbol.has_value());
    EXPECT_EQ(symbol->name, "do_timer");
    EXPECT_EQ(symbol->offset, offset);
  }
}

// The file's image stands in for a guest that was not slid.
TEST_F(StockKernelTest, TheFilesOwnImageHasItsBuildId) {
  EXPECT_EQ(kernel_->build_id().size(), 20u);
  const auto read = [](uint64_t kva, absl::Span<uint8_t> out) {
    return kernel_->elf().ReadAtKva(kva, out);
  };
  EXPECT_TRUE(VerifyBuildId(*kernel_, 0, read).ok());
  EXPECT_FALSE(VerifyBuildId(*kernel_, uint64_t{2} << 20, read).ok());
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s VMLINUX\n", argv[0]);
    return 2;
  }
  watchsnap::VmlinuxPath() = argv[1];
  return RUN_ALL_TESTS();
}
