// A scenario: what to do in a guest, and what to check on the host once the machine has stopped.
// One source file is both sides.
//
//   WATCH_SCENARIO(WatchesTheWatchdog) {              // in the guest; `ctx` is its ScenarioContext
//     return ExecuteSteps(ctx, {Step{
//         .setup = {CgroupDef::Named("workers").Workers(2)},
//         .ops = {Op::WatchSnapshot("scx_watchdog_timestamp")},
//         .hold = HoldSpec::Full()}});
//   }
//   POST_VM(WatchesTheWatchdog) {                     // on the host; `result` is the run's
//   VmResult
//     ASSERT_THAT(result.snapshot_bridge->DrainOrdered(), Not(IsEmpty()));
//   }
//
// watch_scenario_test in //testing:defs.bzl makes it a test target. The program, statically linked,
// is the test on the host and the first process in the guest. A scenario may use gtest's EXPECT_
// and ASSERT-free checks too: what fails there fails the scenario, with its place. A program may
// hold ordinary TESTs beside its scenarios, or only those: then ExecuteSteps acts on a bridge that
// the test made active, and there is no guest.
//
// A scenario that is meant to bring its guest down says so, and passes if the guest ends like that
// before the scenario has returned (there is a final capture then, tag kFinalTag):
//
//   EXPECT_GUEST_END(Crashes, RunEndKind::kPanic);
//
// Threads: a scenario runs in a process of its own in the guest; if it dies, the host is told how.
#ifndef WATCHSNAP_TESTING_SCENARIO_SCENARIO_H_
#define WATCHSNAP_TESTING_SCENARIO_SCENARIO_H_

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "snapshot/vm_session.h"
#include "testing/scenario/assert_result.h"
#include "testing/scenario/context.h"
#include "testing/scenario/execute_steps.h"
#include "testing/scenario/guest_scheduler.h"
#include "testing/scenario/registry.h"
#include "testing/scenario/series.h"
#include "testing/scenario/step.h"

#define WATCH_SCENARIO(scenario_name)                                                   \
  static ::absl::StatusOr<::watchsnap::AssertResult> WatchsnapScenario_##scenario_name( \
      [[maybe_unused]] ::watchsnap::ScenarioContext& ctx);                              \
  [[maybe_unused]] static const bool watchsnap_scenario_registered_##scenario_name =    \
      ::watchsnap::RegisterScenario(#scenario_name, __FILE__, __LINE__,                 \
                                    WatchsnapScenario_##scenario_name);                 \
  static ::absl::StatusOr<::watchsnap::AssertResult> WatchsnapScenario_##scenario_name( \
      [[maybe_unused]] ::watchsnap::ScenarioContext& ctx)

#define EXPECT_GUEST_END(scenario_name, end_kind)                                    \
  [[maybe_unused]] static const bool watchsnap_guest_end_registered_##scenario_name = \
      ::watchsnap::RegisterExpectedEnd(#scenario_name, __FILE__, __LINE__, end_kind)

#define POST_VM(scenario_name)                                                      \
  static void WatchsnapPostVm_##scenario_name(                                      \
      [[maybe_unused]] const ::watchsnap::VmResult& result);                        \
  [[maybe_unused]] static const bool watchsnap_post_vm_registered_##scenario_name = \
      ::watchsnap::RegisterPostVm(#scenario_name, __FILE__, __LINE__,               \
                                  WatchsnapPostVm_##scenario_name);                 \
  static void WatchsnapPostVm_##scenario_name([[maybe_unused]] const ::watchsnap::VmResult& result)

#endif  // WATCHSNAP_TESTING_SCENARIO_SCENARIO_H_
