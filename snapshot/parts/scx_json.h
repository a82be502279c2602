// The state of sched_ext as JSON: the `scx` of schema.md.
//
//   ScxJsonWriter writer(scx, symbolize);
//   scx.Walk(evidence, writer);
//   SetMember(report.more, "scx", writer.TakeJson());
//   report.degraded: writer.degraded()
//
// AppendScxExit is the `exit` of it, for a failure dump too.
// Threads: one a writer. Errors: none; what is lacking is in `degraded`.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_SCX_JSON_H_
#define WATCHSNAP_SNAPSHOT_PARTS_SCX_JSON_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/kernel/scx/exit_reader.h"
#include "debug/kernel/scx/scx_walk.h"
#include "snapshot/report/report.h"

namespace watchsnap {

// "function+0x1c" for a return address; empty where there is no name for it.
using ScxSymbolizer = std::function<std::string(uint64_t address)>;

// {"kind":"SCX_EXIT_ERROR_BPF","exit_code":0,"reason":"…","msg":"…","backtrace":["f+0x12",…],…};
// empty texts are left out. `names` is the reader that the exit was read with.
void AppendScxExit(const ScxExitInfo& exit, const ScxExitReader& names,
                   const ScxSymbolizer& symbolize, std::string& out);

class ScxJsonWriter : public ScxVisitor {
 public:
  ScxJsonWriter(const ScxKernel& scx, const ScxSymbolizer& symbolize)
      : scx_(scx), symbolize_(symbolize) {}

  // After the walk, once.
  std::string TakeJson();
  std::vector<Degraded>& degraded() { return degraded_; }

  void OnState(const ScxStateInfo& state) override;
  void OnRoot(const ScxSchedulerInfo& root) override;
  void OnExit(const ScxExitInfo& exit) override;
  void OnSubScheduler(const ScxSchedulerInfo& sub) override;
  void OnSubSchedulersEnd(WalkEnd end) override;
  void OnCpu(const ScxCpuInfo& cpu) override;
  void OnCpuEnd(const ScxCpuInfo& cpu) override;
  void OnQueue(ScxQueueKind kind, int owner, const ScxQueueInfo& queue) override;
  void OnQueuedTask(const TaskInfo& task) override;
  void OnQueueEnd(WalkEnd end) override;
  void OnQueuesEnd(ScxQueueKind kind, WalkEnd end) override;
  void OnTask(const ScxTaskInfo& task) override;
  void OnTasksEnd(WalkEnd end) override;

 private:
  void Lacks(std::string what, std::string why) {
    degraded_.push_back({std::move(what), std::move(why)});
  }
  void LacksRest(std::string what, WalkEnd end, int limit);
  std::string QueuesJson();
  void AppendQueueId(uint64_t id, std::string& out) const;
  // `where`: the member of the report whose members they would have been.
  void AddMissing(std::string_view where, const std::vector<std::string>& missing);

  const ScxKernel& scx_;
  const ScxSymbolizer& symbolize_;
  std::vector<Degraded> degraded_;
  ScxStateInfo state_;
  uint64_t root_address_ = 0;
  std::optional<int64_t> bypass_depth_;
  std::string root_, exit_, subs_, cpus_, tasks_, bypassing_cpus_;
  std::string local_dsq_, bypass_dsq_;  // of the CPU at hand
  struct Queue {
    ScxQueueKind kind = ScxQueueKind::kUser;
    int owner = -1;
    ScxQueueInfo info;
    std::string tasks;
    std::string lacks;  // why its tasks are not all there
    uint64_t order() const { return kind == ScxQueueKind::kGlobal ? owner : info.id.value_or(0); }
  };
  std::string QueueJson(const Queue& queue) const;
  Queue queue_;  // at hand
  std::vector<Queue> global_queues_, user_queues_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_SCX_JSON_H_
