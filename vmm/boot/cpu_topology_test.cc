#include "vmm/boot/cpu_topology.h"

#include "absl/status/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CpuTopology, ReadsCountsInAnyOrderAndTakesOneForWhatIsLeftOut) {
  const auto full = ParseCpuTopology("threads=2,cores=3,llcs=1,numa=4");
  ASSERT_THAT(full, IsOk());
  EXPECT_EQ(CpuTopologyText(*full), "numa=4,llcs=1,cores=3,threads=2");
  EXPECT_EQ(full->vcpus(), 24);
  EXPECT_EQ(full->vcpus_per_node(), 6);
  EXPECT_EQ(full->node_of(5), 0);
  EXPECT_EQ(full->node_of(6), 1);
  const auto one = ParseCpuTopology("cores=8");
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(CpuTopologyText(*one), CpuTopologyText(CpuTopology::Flat(8)));
}

TEST(CpuTopology, WhatItPrintsItReads) {
  const CpuTopology topology = {2, 2, 4, 2};
  const auto again = ParseCpuTopology(CpuTopologyText(topology));
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(CpuTopologyText(*again), CpuTopologyText(topology));
}

TEST(CpuTopology, AMistakeIsNamedWithWhatIsWanted) {
  const auto refusal = [](std::string_view text, std::string_view what) {
    EXPECT_THAT(ParseCpuTopology(text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(what), HasSubstr("numa=2,llcs=2,cores=2,threads=2"))))
        << text;
  };
  refusal("", "there is no ''");
  refusal("numa=2,", "there is no ''");
  refusal("nodes=2", "there is no 'nodes'");
  refusal("numa=2 ,cores=2", "'numa=2 ' is no count");
  refusal("cores=2,cores=2", "'cores' is given twice");
  refusal("cores", "'cores' is no count");
  refusal("cores=", "'cores=' is no count");
  refusal("cores=0", "'cores=0' is no count from 1 to 64");
  refusal("cores=-2", "'cores=-2' is no count");
  refusal("cores=two", "'cores=two' is no count");
  refusal("cores=2=2", "'cores=2=2' is no count");
  refusal("cores=65", "'cores=65' is no count");
  refusal("cores=99999999999", "'cores=99999999999' is no count");
}

TEST(CpuTopology, AMachineHasAtMost64Vcpus) {
  EXPECT_THAT(ParseCpuTopology("numa=4,cores=8,threads=2"), IsOk());
  EXPECT_THAT(ParseCpuTopology("numa=5,cores=8,threads=2"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("these are 80 vCPUs; a machine has 1 to 64")));
  EXPECT_THAT(ParseCpuTopology("numa=64,llcs=64,cores=64,threads=64"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("these are 16777216 vCPUs")));
  EXPECT_THAT(CheckCpuTopology({.numa_nodes = 0}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace watchsnap
