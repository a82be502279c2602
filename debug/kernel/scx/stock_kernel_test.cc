// That the stock kernel has all that is read of sched_ext: its variables, structs, members and enums.
// The first argument is its vmlinux.
#include <memory>
#include <string>

#include "debug/kernel/scx/scx_symbols.h"
#include "debug/kernel/scx/scx_walk.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/btf_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string vmlinux;

TEST(StockKernel, NothingThatIsReadOfSchedExtIsMissing) {
  const auto symbols = KernelSymbols::Open(vmlinux);
  ASSERT_TRUE(symbols.ok()) << symbols.status();
  const auto scx_symbols = ScxSymbols::Find(**symbols, 0);
  ASSERT_TRUE(scx_symbols.ok()) << scx_symbols.status();
  EXPECT_NE(scx_symbols->root, 0u);
  EXPECT_NE(scx_symbols->tasks, 0u);
  EXPECT_NE(scx_symbols->all, 0u);
  EXPECT_NE(scx_symbols->runqueues, 0u);
  EXPECT_NE(scx_symbols->switched_all, 0u);

  const auto types = ReadBtfOfElf((*symbols)->elf(), *symbols);
  ASSERT_TRUE(types.ok()) << types.status();
  const ScxKernel scx(**types, *scx_symbols, PerCpu({0}));
  EXPECT_THAT(scx.schedulers().missing(), IsEmpty());
  EXPECT_THAT(scx.exits().missing(), IsEmpty());
  EXPECT_THAT(scx.queues().missing(), IsEmpty());
  EXPECT_THAT(scx.runqueues().missing(), IsEmpty());
  EXPECT_THAT(scx.tasks().missing(), IsEmpty());

  EXPECT_TRUE(scx.schedulers().names().enable_states.found());
  EXPECT_TRUE(scx.schedulers().names().ops_flags.found());
  EXPECT_TRUE(scx.exits().flags().found());
  EXPECT_EQ(scx.exits().kinds().ValueOf("SCX_EXIT_ERROR_BPF"), 1025u);
  EXPECT_THAT(scx.runqueues().flag_names().FlagsOf(1), StartsWith("SCX_RQ_"));
  EXPECT_EQ(scx.tasks().FlagNames(1), "SCX_TASK_QUEUED");
  EXPECT_EQ(scx.queues().NameOfId((uint64_t{1} << 63) + 2), "SCX_DSQ_LOCAL");
  EXPECT_EQ(scx.queues().NameOfId((uint64_t{3} << 62) + 5), "SCX_DSQ_LOCAL_ON|5");
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) return 2;
  watchsnap::vmlinux = argv[1];
  return RUN_ALL_TESTS();
}
