// Two schedulers fail in one run, with no watch declared: each leaves its failure dump.
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/scenario/scenario.h"
#include "testing/scenarios/failure_dumps.h"

namespace watchsnap {
namespace {

using ::testing::EndsWith;
using ::testing::SizeIs;

#ifdef WATCHSNAP_NO_SLOT
constexpr bool kHasSlot = false;
#else
constexpr bool kHasSlot = true;
#endif

const Condition kDisabled = {"the scheduler is disabled",
                             [](ScenarioContext& ctx) -> absl::StatusOr<bool> {
                               return ctx.schedulers()->State() == "disabled";
                             }};

WATCH_SCENARIO(Dumps) {
  const auto fails = [](const char* scheduler) {
    return Step{.setup = {CgroupDef::Named("workers").Workers(2)},
                .ops = {Op::StartScheduler(scheduler)},
                .hold = HoldSpec::Until(kDisabled, absl::Seconds(30))};
  };
  return ExecuteSteps(ctx, {fails("error"), fails("stall")});
}

POST_VM(Dumps) {
  EXPECT_TRUE(result.watches.empty());
  ASSERT_THAT(result.failure_dumps, SizeIs(2));
  EXPECT_THAT(result.failure_dumps[0], EndsWith("/Dumps.failure-dump.json"));
  EXPECT_THAT(result.failure_dumps[1], EndsWith("/Dumps.failure-dump.2.json"));
  const Snapshot error = ExpectDump(result, 0,
                                    {.kind = "SCX_EXIT_ERROR_BPF",
                                     .scheduler = "watchsnap_error",
                                     .message = "watchsnap_error gives up on purpose after",
                                     .functions = {"scx_bpf_error_bstr"},
                                     .has_slot = kHasSlot});
  // What the scheduler wrote just before it gave up stands in the evidence of that instant.
  absl::StatusOr<uint64_t> failed = error.Map("error.bss").Get("failed_ns").AsU64();
  absl::StatusOr<uint64_t> started = error.Map("error.bss").Get("started_ns").AsU64();
  ASSERT_TRUE(failed.ok() && started.ok()) << failed.status() << " " << started.status();
  EXPECT_GT(*failed, *started + 300'000'000);
  EXPECT_LT(*failed, *started + 10'000'000'000) << "an error soon after the load";
  ExpectDump(result, 1,
             {.kind = "SCX_EXIT_ERROR_STALL",
              .scheduler = "watchsnap_stall",
              .message = "failed to run for",
              .functions = {"scx_watchdog_workfn"},
              .has_slot = kHasSlot});
}

}  // namespace
}  // namespace watchsnap
