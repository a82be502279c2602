#include "testing/scenario/execute_steps.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "testing/scenario/step_backend.h"

namespace watchsnap {
namespace {

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
    absl::SleepFor(op.duration);
    return absl::OkStatus();
  }

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

// True if the step went well; else `result` says why not.
absl::StatusOr<bool> RunStep(ScenarioContext& ctx, StepBackend& backend, const Step& step,
                             int index, AssertResult& result) {
  absl::StatusOr<RunningCgroups> cgroups = StartAll(backend, step);
  if (!cgroups.ok()) return cgroups.status();
  OpRunner runner(ctx, backend);
  for (size_t i = 0; i < step.ops.size(); ++i) {
    const absl::Status status = std::visit(runner, step.ops[i].kind());
    if (status.ok()) continue;
    result.passed = false;
    result.details.push_back({.message = absl::StrCat(status.message(), " [step ", index, ", op ",
                                                      i, ": ", step.ops[i].Description(), "]"),
                              .step = index,
                              .op = static_cast<int>(i)});
    return false;
  }
  absl::SleepFor(step.hold.Resolve(ctx.full_hold()));
  for (const auto& cgroup : *cgroups) {
    if (const absl::Status status = cgroup->Check(); !status.ok()) {
      result.passed = false;
      result.details.push_back(
          {.message = absl::StrCat(status.message(), " [step ", index, "]"), .step = index});
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<AssertResult> ExecuteSteps(ScenarioContext& ctx, const std::vector<Step>& steps) {
  absl::StatusOr<std::unique_ptr<StepBackend>> backend = ChooseStepBackend(ctx);
  if (!backend.ok()) return backend.status();
  AssertResult result;
  for (size_t i = 0; i < steps.size(); ++i) {
    absl::StatusOr<bool> well = RunStep(ctx, **backend, steps[i], static_cast<int>(i), result);
    if (!well.ok()) return well.status();
    if (!*well) break;
  }
  return result;
}

}  // namespace watchsnap
