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

// When the captures of a series are due, from the begin of a hold: each in the middle of its part
// of the middle four fifths.
absl::Duration PeriodicOffset(absl::Duration length, int index, int count) {
  return length / 10 + length * 8 * (2 * index + 1) / (20 * count);
}

// Lets the hold's time pass; ends early if a scheduler dies.
absl::Status Hold(ScenarioContext& ctx, StepBackend& backend, const HoldSpec& hold,
                  int num_periodic = 0) {
  const absl::Duration length = hold.Resolve(ctx.full_hold());
  if (num_periodic > 0 && (hold.condition().has_value() || length <= absl::ZeroDuration())) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_periodic = ", num_periodic,
                     " needs a hold whose length is known: HoldSpec::Full() or HoldSpec::For(…)"));
  }
  const absl::Time begin = absl::Now();
  const absl::Time end = begin + length;
  int captured = 0;
  while (true) {
    if (absl::Status status = backend.CheckSchedulers(); !status.ok()) return status;
    absl::Time next = end;
    if (captured < num_periodic) {
      next = begin + PeriodicOffset(length, captured, num_periodic);
      if (absl::Now() >= next) {
        ++captured;
        if (absl::Status status = backend.CapturePeriodic(kPeriodicTag); !status.ok())
          return status;
        continue;
      }
    }
    if (hold.condition().has_value()) {
      absl::StatusOr<bool> holds = hold.condition()->holds(ctx);
      if (!holds.ok()) return holds.status();
      if (*holds) return absl::OkStatus();
    }
    const absl::Duration left = next - absl::Now();
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
  absl::Status operator()(const Op::SnapshotOp& op) {
    return backend_.Capture(op.tag, op.variables);
  }
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
  absl::Status operator()(const Op::MoveTasksOp& op) { return backend_.MoveTasks(op); }
  absl::Status operator()(const Op::SetAffinityOp& op) { return backend_.SetAffinity(op); }
  absl::Status operator()(const Op::SetWeightOp& op) { return backend_.SetWeight(op); }

 private:
  ScenarioContext& ctx_;
  StepBackend& backend_;
};

using RunningCgroups = std::vector<std::unique_ptr<RunningCgroup>>;

absl::StatusOr<RunningCgroups> StartAll(StepBackend& backend, const std::vector<CgroupDef>& setup) {
  RunningCgroups running;
  for (const CgroupDef& cgroup : setup) {
    absl::StatusOr<std::unique_ptr<RunningCgroup>> started = backend.StartCgroup(cgroup);
    if (!started.ok()) return started.status();
    if (*started != nullptr) running.push_back(*std::move(started));
  }
  return running;
}

void AddReports(ScenarioContext& ctx, const RunningCgroups& cgroups) {
  for (const auto& cgroup : cgroups) ctx.AddWorkerReports(cgroup->Reports());
}

// Runs one step; writes down in `result` what went wrong.
class StepRunner {
 public:
  StepRunner(ScenarioContext& ctx, StepBackend& backend, int index, AssertResult& result)
      : ctx_(ctx), backend_(backend), index_(index), result_(result) {}

  // True if the step went well.
  absl::StatusOr<bool> Run(const Step& step, const RunningCgroups& backdrop) {
    absl::StatusOr<RunningCgroups> cgroups = StartAll(backend_, step.setup);
    if (!cgroups.ok()) {
      return absl::Status(cgroups.status().code(),
                          absl::StrCat(cgroups.status().message(), " [step ", index_, ", setup]"));
    }
    const bool well = RunOps(step) && AllWork(*cgroups) && AllWork(backdrop);
    AddReports(ctx_, *cgroups);
    return well;
  }

 private:
  bool RunOps(const Step& step) {
    OpRunner runner(ctx_, backend_);
    for (size_t i = 0; i < step.ops.size(); ++i) {
      absl::Status status = std::visit(runner, step.ops[i].kind());
      status.Update(backend_.CheckSchedulers());
      if (!status.ok()) return Fail(status, static_cast<int>(i), step.ops[i].Description());
    }
    if (absl::Status status = Hold(ctx_, backend_, step.hold, step.num_periodic); !status.ok()) {
      return Fail(status, std::nullopt, "hold");
    }
    return true;
  }

  bool AllWork(const RunningCgroups& cgroups) {
    for (const auto& cgroup : cgroups) {
      if (const absl::Status status = cgroup->Check(); !status.ok()) {
        return Fail(status, std::nullopt, "");
      }
    }
    return true;
  }

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
  return ExecuteSteps(ctx, Backdrop{}, steps);
}

absl::StatusOr<AssertResult> ExecuteSteps(ScenarioContext& ctx, const Backdrop& backdrop,
                                          const std::vector<Step>& steps) {
  absl::StatusOr<std::unique_ptr<StepBackend>> backend = ChooseStepBackend(ctx);
  if (!backend.ok()) return backend.status();
  absl::StatusOr<RunningCgroups> behind = StartAll(**backend, backdrop.setup);
  if (!behind.ok()) return behind.status();
  AssertResult result;
  for (size_t i = 0; i < steps.size(); ++i) {
    absl::StatusOr<bool> well =
        StepRunner(ctx, **backend, static_cast<int>(i), result).Run(steps[i], *behind);
    if (!well.ok()) return well.status();
    if (!*well) break;
  }
  AddReports(ctx, *behind);
  return result;
}

}  // namespace watchsnap
