#include "testing/scenario/execute_steps.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "testing/scenario/step_backend.h"

namespace watchsnap {
namespace {

// Conditions are asked this often.
constexpr absl::Duration kConditionTurn = absl::Milliseconds(20);

// Lets the hold's time pass; ends early if a scheduler dies.
absl::Status Hold(ScenarioContext& ctx, StepBackend& backend, const HoldSpec& hold) {
  const absl::Duration length = hold.Resolve(ctx.full_hold());
  const absl::Time end = absl::Now() + length;
  while (true) {
    if (absl::Status status = backend.CheckSchedulers(); !status.ok()) return status;
    if (hold.condition().has_value()) {
      absl::StatusOr<bool> holds = hold.condition()->holds(ctx);
      if (!holds.ok()) return holds.status();
      if (*holds) return absl::OkStatus();
    }
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) break;
    backend.Wait(hold.condition().has_value() ? std::min(left, kConditionTurn) : left);
  }
  if (!hold.condition().has_value()) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(
      "'", hold.condition()->name, "' did not come true within ", absl::FormatDuration(length)));
}

// Runs one op; a visitor over Op::Kind.
class OpRunner {
 public:
  OpRunner(ScenarioContext& ctx, StepBackend& backend) : ctx_(ctx), backend_(backend) {}

  absl::Status operator()(const Op::WatchSnapshotOp& op) {
    return backend_.Watch(op.symbol, op.options);
  }
  absl::Status operator()(const Op::SnapshotOp& op) { return backend_.Capture(op.tag); }
  absl::Status operator()(const Op::RunCommandOp& op) {
    return backend_.RunCommand(op.argv, op.timeout);
  }
  absl::Status operator()(const Op::RunFunctionOp& op) { return op.function(ctx_); }
  absl::Status operator()(const Op::SleepOp& op) {
    return Hold(ctx_, backend_, HoldSpec::For(op.duration));
  }
  absl::Status operator()(const Op::StartSchedulerOp& op) {
    return backend_.StartScheduler(op.name);
  }
  absl::Status operator()(const Op::StopSchedulerOp&) { return backend_.StopScheduler(); }

 private:
  ScenarioContext& ctx_;
  StepBackend& backend_;
};

using RunningCgroups = std::vector<std::unique_ptr<RunningCgroup>>;

absl::StatusOr<RunningCgroups> StartAll(StepBackend& backend, const Step& step) {
  RunningCgroups running;
  for (const CgroupDef& cgroup : step.setup) {
    absl::StatusOr<std::unique_ptr<RunningCgroup>> started = backend.StartCgroup(cgroup);
    if (!started.ok()) return started.status();
    if (*started != nullptr) running.push_back(*std::move(started));
  }
  return running;
}

// Runs one step; writes down in `result` what went wrong.
class StepRunner {
 public:
  StepRunner(ScenarioContext& ctx, StepBackend& backend, int index, AssertResult& result)
      : ctx_(ctx), backend_(backend), index_(index), result_(result) {}

  // True if the step went well.
  absl::StatusOr<bool> Run(const Step& step) {
    absl::StatusOr<RunningCgroups> cgroups = StartAll(backend_, step);
    if (!cgroups.ok()) return cgroups.status();
    OpRunner runner(ctx_, backend_);
    for (size_t i = 0; i < step.ops.size(); ++i) {
      absl::Status status = std::visit(runner, step.ops[i].kind());
      status.Update(backend_.CheckSchedulers());
      if (!status.ok()) return Fail(status, static_cast<int>(i), step.ops[i].Description());
    }
    if (absl::Status status = Hold(ctx_, backend_, step.hold); !status.ok()) {
      return Fail(status, std::nullopt, "hold");
    }
    for (const auto& cgroup : *cgroups) {
      if (const absl::Status status = cgroup->Check(); !status.ok()) {
        return Fail(status, std::nullopt, "");
      }
    }
    return true;
  }

 private:
  bool Fail(const absl::Status& status, std::optional<int> op, const std::string& what) {
    result_.passed = false;
    result_.details.push_back(
        {.message = absl::StrCat(status.message(), " [step ", index_,
                                 op.has_value() ? absl::StrCat(", op ", *op, ": ", what)
                                 : what.empty() ? ""
                                                : absl::StrCat(", ", what),
                                 "]"),
         .step = index_,
         .op = op});
    return false;
  }

  ScenarioContext& ctx_;
  StepBackend& backend_;
  const int index_;
  AssertResult& result_;
};

}  // namespace

absl::StatusOr<AssertResult> ExecuteSteps(ScenarioContext& ctx, const std::vector<Step>& steps) {
  absl::StatusOr<std::unique_ptr<StepBackend>> backend = ChooseStepBackend(ctx);
  if (!backend.ok()) return backend.status();
  AssertResult result;
  for (size_t i = 0; i < steps.size(); ++i) {
    absl::StatusOr<bool> well =
        StepRunner(ctx, **backend, static_cast<int>(i), result).Run(steps[i]);
    if (!well.ok()) return well.status();
    if (!*well) break;
  }
  return result;
}

}  // namespace watchsnap
