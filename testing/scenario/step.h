// The vocabulary of a scenario: steps, and what they are made of. Plain values; execute_steps.h
// runs them.
//
//   Step{.setup = {CgroupDef::Named("workers").Workers(2).Work(WorkType::kPipe).CpuSet("0-1")},
//        .ops = {Op::WatchSnapshot("jiffies_64"), Op::Run({"/bin/true"})},
//        .hold = HoldSpec::Full(),
//        .num_periodic = 10}
//
// A step starts its cgroups' workers, runs its ops in order, holds, and ends its workers. A
// Backdrop is there before the first step and ends after the last.
#ifndef WATCHSNAP_TESTING_SCENARIO_STEP_H_
#define WATCHSNAP_TESTING_SCENARIO_STEP_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "snapshot/watch_options.h"

namespace watchsnap {

class ScenarioContext;

// What a worker does for ever. Each is one process; those of kPipe and kFutex have a second one
// that they play with, in the same cgroup.
enum class WorkType {
  kSpin,      // uses the CPU; a gap is when it did not get it
  kYield,     // sched_yield() after sched_yield()
  kSleep,     // sleeps for 2 ms, to a point in time; late is how much after it
  kMixed,     // some milliseconds of CPU, a yield, a sleep
  kForkExit,  // a child that exits at once, waited for
  kPipe,      // a message there and back over pipes
  kFutex,     // the same over a futex
};
std::string_view WorkTypeName(WorkType work);  // "spin"

// A cgroup (version 2) and its workers.
class CgroupDef {
 public:
  static CgroupDef Named(std::string name) { return CgroupDef(std::move(name)); }
  CgroupDef Workers(int count) const {
    CgroupDef result = *this;
    result.workers_ = count;
    return result;
  }

  CgroupDef Work(WorkType work) const {
    CgroupDef result = *this;
    result.work_ = work;
    return result;
  }
  // As cpuset.cpus takes it: "0-1,3".
  CgroupDef CpuSet(std::string cpus) const {
    CgroupDef result = *this;
    result.cpu_set_ = std::move(cpus);
    return result;
  }
  // As cpu.weight takes it: 1 to 10000, 100 is usual.
  CgroupDef Weight(int weight) const {
    CgroupDef result = *this;
    result.weight_ = weight;
    return result;
  }

  const std::string& name() const { return name_; }
  int workers() const { return workers_; }
  WorkType work() const { return work_; }
  const std::optional<std::string>& cpu_set() const { return cpu_set_; }
  const std::optional<int>& weight() const { return weight_; }

 private:
  explicit CgroupDef(std::string name) : name_(std::move(name)) {}
  std::string name_;
  int workers_ = 1;
  WorkType work_ = WorkType::kSpin;
  std::optional<std::string> cpu_set_;
  std::optional<int> weight_;
};

// Something the guest is asked again and again. An error fails the step.
struct Condition {
  std::string name;  // for messages: "the scheduler is disabled"
  std::function<absl::StatusOr<bool>(ScenarioContext& ctx)> holds;
};

// How long a step lasts after its ops.
class HoldSpec {
 public:
  // As long as the test says (`duration_s` of watch_scenario_test).
  static HoldSpec Full() { return HoldSpec(std::nullopt); }
  static HoldSpec For(absl::Duration duration) { return HoldSpec(duration); }
  static HoldSpec None() { return HoldSpec(absl::ZeroDuration()); }
  // Until `condition` holds; the step fails if it does not within `limit`.
  static HoldSpec Until(Condition condition, absl::Duration limit = absl::Seconds(30)) {
    HoldSpec hold(limit);
    hold.condition_ = std::move(condition);
    return hold;
  }

  absl::Duration Resolve(absl::Duration full) const { return duration_.value_or(full); }
  const std::optional<Condition>& condition() const { return condition_; }

 private:
  explicit HoldSpec(std::optional<absl::Duration> duration) : duration_(duration) {}
  std::optional<absl::Duration> duration_;
  std::optional<Condition> condition_;
};

// Something the scenario does itself, in the guest. An error fails the op.
using GuestFunction = std::function<absl::Status(ScenarioContext& ctx)>;

class Op {
 public:
  struct WatchSnapshotOp {
    std::string symbol;
    std::optional<WatchOptions> options;  // absent: the host's defaults
  };
  struct SnapshotOp {
    std::string tag;
    std::vector<std::string> variables;
  };
  struct RunCommandOp {
    std::vector<std::string> argv;
    absl::Duration timeout;
  };
  struct RunFunctionOp {
    std::string name;
    GuestFunction function;
  };
  struct SleepOp {
    absl::Duration duration;
  };
  struct StartSchedulerOp {
    std::string name;
  };
  struct StopSchedulerOp {};
  struct MoveTasksOp {
    std::string from;
    std::string to;
  };
  struct SetAffinityOp {
    std::string cgroup;
    std::string cpus;
  };
  struct SetWeightOp {
    std::string cgroup;
    int weight;
  };
  using Kind =
      std::variant<WatchSnapshotOp, SnapshotOp, RunCommandOp, RunFunctionOp, SleepOp,
                   StartSchedulerOp, StopSchedulerOp, MoveTasksOp, SetAffinityOp, SetWeightOp>;

  // Captures each time the kernel writes to `symbol`: the name byte for byte as `nm vmlinux` prints
  // it. Its captures take the variable along whole, and those that the options name:
  //   Op::WatchSnapshot("total_forks", {.variables = {"nr_threads", "runqueues"}})
  static Op WatchSnapshot(std::string symbol) {
    return Op(WatchSnapshotOp{std::move(symbol), std::nullopt});
  }
  static Op WatchSnapshot(std::string symbol, WatchOptions options) {
    return Op(WatchSnapshotOp{std::move(symbol), std::move(options)});
  }
  // One capture now, under `tag`, with these variables of the kernel (and those that earlier
  // captures of the tag named).
  static Op Snapshot(std::string tag, std::vector<std::string> variables = {}) {
    return Op(SnapshotOp{std::move(tag), std::move(variables)});
  }
  // A program of the guest. A status other than 0, or not ending in time, fails the op.
  static Op Run(std::vector<std::string> argv, absl::Duration timeout = absl::Seconds(30)) {
    return Op(RunCommandOp{std::move(argv), timeout});
  }
  // Code of the scenario; `name` is for messages.
  static Op Run(std::string name, GuestFunction function) {
    return Op(RunFunctionOp{std::move(name), std::move(function)});
  }
  static Op Sleep(absl::Duration duration) { return Op(SleepOp{duration}); }
  // A sched_ext scheduler from `scheduler =` or `schedulers =` of watch_scenario_test, by the name
  // of its target or file. One runs at a time: it replaces the one before.
  static Op StartScheduler(std::string name) { return Op(StartSchedulerOp{std::move(name)}); }
  static Op StopScheduler() { return Op(StopSchedulerOp{}); }
  // All tasks of one cgroup into another; both are there by a CgroupDef.
  static Op MoveTasks(std::string from, std::string to) {
    return Op(MoveTasksOp{std::move(from), std::move(to)});
  }
  // sched_setaffinity of all tasks of a cgroup: "0-1,3".
  static Op SetAffinity(std::string cgroup, std::string cpus) {
    return Op(SetAffinityOp{std::move(cgroup), std::move(cpus)});
  }
  // cpu.weight of a cgroup.
  static Op SetWeight(std::string cgroup, int weight) {
    return Op(SetWeightOp{std::move(cgroup), weight});
  }

  const Kind& kind() const { return kind_; }
  // As in the source: Op::WatchSnapshot("jiffies_64").
  std::string Description() const;

 private:
  explicit Op(Kind kind) : kind_(std::move(kind)) {}
  Kind kind_;
};

struct Step {
  std::vector<CgroupDef> setup = {};
  std::vector<Op> ops = {};
  HoldSpec hold = HoldSpec::None();
  // Captures this often while it holds, evenly over the middle four fifths of the hold, under
  // kPeriodicTag. Needs a hold whose length is known: Full() or For().
  int num_periodic = 0;
};

inline constexpr char kPeriodicTag[] = "periodic";

// What is there all the while steps come and go.
struct Backdrop {
  std::vector<CgroupDef> setup = {};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_STEP_H_
