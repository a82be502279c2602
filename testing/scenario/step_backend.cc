#include "testing/scenario/step_backend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "snapshot/bridge/snapshot_bridge.h"
#include "testing/scenario/cgroup_files.h"
#include "testing/scenario/cgroup_workers.h"
#include "testing/scenario/guest_scheduler.h"
#include "testing/scenario/run_command.h"

namespace watchsnap {
namespace {

// Arming may have to prove first that the host delivers hits, and a capture waits for its
// rendering: seconds at most, in an emulated and busy host some more.
constexpr absl::Duration kRequestTimeout = absl::Seconds(60);

class BridgeBackend : public StepBackend {
 public:
  BridgeBackend(ScenarioContext& ctx, SnapshotBridge bridge)
      : ctx_(ctx), bridge_(std::move(bridge)) {}

  absl::Status Watch(const std::string& symbol, const std::optional<WatchOptions>&) override {
    return bridge_.RegisterWatch(symbol);
  }
  absl::Status Capture(const std::string& tag, const std::vector<std::string>&) override {
    return bridge_.Capture(tag);
  }
  absl::Status CapturePeriodic(const std::string& tag) override { return bridge_.Capture(tag); }
  absl::Status RunCommand(const std::vector<std::string>& argv, absl::Duration) override {
    ctx_.RecordCommand(argv);
    return absl::OkStatus();
  }
  absl::Status StartScheduler(const std::string& name) override {
    ctx_.RecordOp(Op::StartScheduler(name).Description());
    return absl::OkStatus();
  }
  absl::Status StopScheduler() override {
    ctx_.RecordOp(Op::StopScheduler().Description());
    return absl::OkStatus();
  }
  absl::Status MoveTasks(const Op::MoveTasksOp& op) override {
    ctx_.RecordOp(Op::MoveTasks(op.from, op.to).Description());
    return absl::OkStatus();
  }
  absl::Status SetAffinity(const Op::SetAffinityOp& op) override {
    ctx_.RecordOp(Op::SetAffinity(op.cgroup, op.cpus).Description());
    return absl::OkStatus();
  }
  absl::Status SetWeight(const Op::SetWeightOp& op) override {
    ctx_.RecordOp(Op::SetWeight(op.cgroup, op.weight).Description());
    return absl::OkStatus();
  }
  absl::Status CheckSchedulers() override { return absl::OkStatus(); }
  void Wait(absl::Duration duration) override { absl::SleepFor(duration); }
  absl::StatusOr<std::unique_ptr<RunningCgroup>> StartCgroup(const CgroupDef& cgroup) override {
    ctx_.RecordCgroup(cgroup);
    return nullptr;
  }

 private:
  ScenarioContext& ctx_;
  const SnapshotBridge bridge_;  // a handle
};

class ChannelBackend : public StepBackend {
 public:
  ChannelBackend(ControlClient& channel, GuestSchedulers* schedulers)
      : channel_(channel), schedulers_(schedulers) {}

  absl::Status Watch(const std::string& symbol,
                     const std::optional<WatchOptions>& options) override {
    WatchRequestOptions request;
    if (options.has_value()) request = WatchRequestOptions::Of(*options);
    return channel_.RequestWatch(symbol, request, kRequestTimeout);
  }
  absl::Status Capture(const std::string& tag,
                       const std::vector<std::string>& variables) override {
    return channel_.RequestCapture(tag, variables, kRequestTimeout);
  }
  absl::Status CapturePeriodic(const std::string& tag) override {
    return channel_.RequestPeriodicCapture(tag, kRequestTimeout);
  }
  absl::Status RunCommand(const std::vector<std::string>& argv, absl::Duration timeout) override {
    return watchsnap::RunCommand(argv, timeout);
  }
  absl::Status StartScheduler(const std::string& name) override {
    if (schedulers_ == nullptr) return NoGuest();
    return schedulers_->Start(name);
  }
  absl::Status StopScheduler() override {
    return schedulers_ == nullptr ? NoGuest() : schedulers_->Stop();
  }
  absl::Status MoveTasks(const Op::MoveTasksOp& op) override {
    return MoveCgroupTasks(op.from, op.to);
  }
  absl::Status SetAffinity(const Op::SetAffinityOp& op) override {
    return SetCgroupAffinity(op.cgroup, op.cpus);
  }
  absl::Status SetWeight(const Op::SetWeightOp& op) override {
    return SetCgroupWeight(op.cgroup, op.weight);
  }
  absl::Status CheckSchedulers() override {
    return schedulers_ == nullptr ? absl::OkStatus() : schedulers_->Check();
  }
  void Wait(absl::Duration duration) override {
    if (schedulers_ == nullptr) return absl::SleepFor(duration);
    schedulers_->WaitForNews(duration);
  }
  absl::StatusOr<std::unique_ptr<RunningCgroup>> StartCgroup(const CgroupDef& cgroup) override {
    return CgroupWorkers::Start(cgroup);
  }

 private:
  static absl::Status NoGuest() {
    return absl::FailedPreconditionError("schedulers are for guests: this process is not in one");
  }

  ControlClient& channel_;
  GuestSchedulers* const schedulers_;  // may be nullptr
};

}  // namespace

absl::StatusOr<std::unique_ptr<StepBackend>> ChooseStepBackend(ScenarioContext& ctx) {
  if (std::optional<SnapshotBridge> bridge = SnapshotBridge::Active(); bridge.has_value()) {
    return std::make_unique<BridgeBackend>(ctx, *bridge);
  }
  if (ctx.channel() != nullptr)
    return std::make_unique<ChannelBackend>(*ctx.channel(), ctx.schedulers());
  return absl::FailedPreconditionError(absl::StrCat(
      "ExecuteSteps of ", ctx.name(),
      " has nothing to act on: there is no channel to a host (it does not run in a guest) and no ",
      "SnapshotBridge is active on this thread. In a host-side unit test call `auto guard = "
      "bridge.SetThreadLocal();` first"));
}

}  // namespace watchsnap
