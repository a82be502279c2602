// What ExecuteSteps acts on: the host at the other end of a channel, or a bridge in this very
// process.
//
// Threads: one. Errors: of Watch and Capture, the refusal, code and message untouched; of
// StartCgroup, that the environment lacks something.
#ifndef WATCHSNAP_TESTING_SCENARIO_STEP_BACKEND_H_
#define WATCHSNAP_TESTING_SCENARIO_STEP_BACKEND_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "snapshot/watch_options.h"
#include "snapshot/wire/messages.h"
#include "testing/scenario/context.h"
#include "testing/scenario/step.h"

namespace watchsnap {

// The workers of one cgroup; ended by the destructor.
class RunningCgroup {
 public:
  virtual ~RunningCgroup() = default;
  // An error if a worker is no longer there.
  virtual absl::Status Check() = 0;
  // What they did so far.
  virtual std::vector<WorkerReport> Reports() const = 0;
};

class StepBackend {
 public:
  virtual ~StepBackend() = default;
  virtual absl::Status Watch(const std::string& symbol,
                             const std::optional<WatchOptions>& options) = 0;
  virtual absl::Status Capture(const std::string& tag,
                               const std::vector<std::string>& variables) = 0;
  virtual absl::Status CapturePeriodic(const std::string& tag) = 0;
  virtual absl::Status RunCommand(const std::vector<std::string>& argv, absl::Duration timeout) = 0;
  virtual absl::Status StartScheduler(const std::string& name) = 0;
  virtual absl::Status StopScheduler() = 0;
  virtual absl::Status MoveTasks(const Op::MoveTasksOp& op) = 0;
  virtual absl::Status SetAffinity(const Op::SetAffinityOp& op) = 0;
  virtual absl::Status SetWeight(const Op::SetWeightOp& op) = 0;
  // An error if the kernel threw a scheduler out, once for each.
  virtual absl::Status CheckSchedulers() = 0;
  // Lets time pass; returns earlier if there may be something for CheckSchedulers.
  virtual void Wait(absl::Duration duration) = 0;
  // nullptr where cgroups are only recorded.
  virtual absl::StatusOr<std::unique_ptr<RunningCgroup>> StartCgroup(const CgroupDef& cgroup) = 0;
};

// The one that `ctx` and this thread have; FAILED_PRECONDITION if there is none.
absl::StatusOr<std::unique_ptr<StepBackend>> ChooseStepBackend(ScenarioContext& ctx);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_STEP_BACKEND_H_
