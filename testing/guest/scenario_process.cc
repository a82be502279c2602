#include "testing/guest/scenario_process.h"

#include <stdio.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "testing/guest/guest_parameters.h"
#include "testing/scenario/guest_scheduler.h"
#include "testing/scenario/run_command.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kSendTimeout = absl::Seconds(30);
// Exit codes of the scenario's process: anything else means that the result was not sent.
constexpr int kResultSent = 0;
constexpr int kResultNotSent = 3;

// gtest keeps what fails outside any test as "ad hoc".
void AddGtestFailures(ScenarioResult& result) {
  const testing::TestResult& checks = testing::UnitTest::GetInstance()->ad_hoc_test_result();
  for (int i = 0; i < checks.total_part_count(); ++i) {
    const testing::TestPartResult& part = checks.GetTestPartResult(i);
    if (!part.failed()) continue;
    result.passed = false;
    result.details.push_back(absl::StrCat(part.file_name() == nullptr ? "?" : part.file_name(), ":",
                                          part.line_number(), ": ", part.message()));
  }
}

[[noreturn]] void ChildMain(const RegisteredScenario& scenario, ScenarioContext& ctx) {
  const absl::Status sent = ctx.channel()->SendResult(RunScenario(scenario, ctx), kSendTimeout);
  if (!sent.ok())
    fprintf(stderr, "watchsnap: the result could not be sent: %s\n",
            std::string(sent.message()).c_str());
  fflush(nullptr);
  _exit(sent.ok() ? kResultSent : kResultNotSent);
}

// The child's client may have died amid a request, whose late answer must not be taken for ours: a
// client of our own counts its requests anew, and the child's was past the first (HELLO and READY
// came before).
void SendForDeadChild(ScenarioContext& ctx, const std::string& how) {
  fprintf(stderr, "watchsnap: %s\n", how.c_str());
  ControlClient client(dup(ctx.channel_fd()));
  const absl::Status sent = client.SendResult(
      {.passed = false, .details = {how}, .exit_reason = "the scenario's process died"},
      kSendTimeout);
  if (!sent.ok())
    fprintf(stderr, "watchsnap: and the host could not be told: %s\n",
            std::string(sent.message()).c_str());
}

}  // namespace

ScenarioResult RunScenario(const RegisteredScenario& scenario, ScenarioContext& ctx) {
  ScenarioResult result;
  const auto scheduler = ctx.parameters().find(guest_parameter::kScheduler);
  if (ctx.schedulers() != nullptr && scheduler != ctx.parameters().end()) {
    if (absl::Status status = ctx.schedulers()->Start(scheduler->second); !status.ok()) {
      result.exit_reason = "its scheduler could not be started";
      result.details.emplace_back(status.message());
      return result;
    }
  }
  absl::StatusOr<AssertResult> outcome = scenario.scenario(ctx);
  if (outcome.ok()) {
    result.passed = outcome->passed;
    result.exit_reason = "returned";
    for (AssertDetail& detail : outcome->details)
      result.details.push_back(std::move(detail.message));
  } else {
    result.exit_reason = "returned an error";
    result.details.push_back(
        absl::StrCat("the steps could not be run: ", outcome.status().ToString()));
  }
  AddGtestFailures(result);
  if (ctx.schedulers() != nullptr) {
    if (absl::Status status = ctx.schedulers()->CheckAtEnd(); !status.ok()) {
      result.passed = false;
      result.details.emplace_back(status.message());
    }
  }
  result.workers = ctx.worker_reports();
  return result;
}

void RunScenarioProcess(const RegisteredScenario& scenario, ScenarioContext& ctx,
                        absl::Duration timeout) {
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) ChildMain(scenario, ctx);
  if (child < 0)
    return SendForDeadChild(ctx,
                            absl::StrCat("no process could be made for scenario ", scenario.name));
  const absl::StatusOr<int> end = WaitForChild(child, absl::Now() + timeout);
  if (!end.ok()) {
    return SendForDeadChild(ctx, absl::StrCat("scenario ", scenario.name, " did not end within ",
                                              absl::FormatDuration(timeout), " and was killed"));
  }
  if (*end != kResultSent) {
    SendForDeadChild(ctx, absl::StrCat("scenario ", scenario.name, " ", DescribeWaitStatus(*end),
                                       " before it had a result"));
  }
}

}  // namespace watchsnap
