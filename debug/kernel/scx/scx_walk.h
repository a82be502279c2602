// ScxKernel: the whole state of sched_ext, walked in one go, the same way over the frozen guest and
// later over the evidence.
//
//   ScxKernel scx(types, symbols, per_cpu);                 // once, when the kernel is known
//   ScxVisitor nobody;
//   scx.Walk(recorder, nobody);                             // frozen: what is read is evidence
//   scx.Walk(evidence, writer);                             // later: writer overrides what it wants
//
// Without a scheduler a walk is two reads. With one it is bounded by the limits below: what is past
// them is left out, and the visitor is told where a walk did not come to its end.
// Threads: immutable; Walk allocates nothing that the visitor does not.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_SCX_WALK_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_SCX_WALK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "debug/kernel/per_cpu.h"
#include "debug/kernel/scx/bounded_walk.h"
#include "debug/kernel/scx/exit_reader.h"
#include "debug/kernel/scx/queue_reader.h"
#include "debug/kernel/scx/runqueue_reader.h"
#include "debug/kernel/scx/scheduler_reader.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/kernel/scx/task_list_reader.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ScxLimits {
  int tasks = 256;
  int queues = 64;           // that the scheduler made
  int tasks_of_a_queue = 64;
  int sub_schedulers = 16;
};

struct ScxStateInfo {
  std::optional<uint64_t> state;  // enum scx_enable_state
  std::optional<bool> switched_all;
  bool loaded = false;            // there is a root scheduler
  bool root_unreadable = false;
};

// Which queue it is that tasks are told of.
enum class ScxQueueKind { kLocal, kBypass, kGlobal, kUser };

// Told in this order; does nothing by itself.
class ScxVisitor {
 public:
  virtual ~ScxVisitor() = default;
  virtual void OnState(const ScxStateInfo&) {}
  // Where a scheduler is loaded:
  virtual void OnRoot(const ScxSchedulerInfo&) {}
  virtual void OnExit(const ScxExitInfo&) {}
  virtual void OnSubScheduler(const ScxSchedulerInfo&) {}
  virtual void OnSubSchedulersEnd(WalkEnd) {}
  // Each CPU, followed by its queues.
  virtual void OnCpu(const ScxCpuInfo&) {}
  virtual void OnCpuEnd(const ScxCpuInfo&) {}
  // A queue, its tasks and its end. `owner`: the CPU, or the node of a global one, or -1.
  virtual void OnQueue(ScxQueueKind, int /*owner*/, const ScxQueueInfo&) {}
  virtual void OnQueuedTask(const TaskInfo&) {}
  virtual void OnQueueEnd(WalkEnd) {}
  // After the global queues, and after the scheduler's own.
  virtual void OnQueuesEnd(ScxQueueKind, WalkEnd) {}
  virtual void OnTask(const ScxTaskInfo&) {}
  virtual void OnTasksEnd(WalkEnd) {}
};

class ScxKernel {
 public:
  ScxKernel(const TypeGraph& types, const ScxSymbols& symbols, PerCpu per_cpu,
            ScxLimits limits = {});

  void Walk(MemoryReader& reader, ScxVisitor& visitor) const;

  const ScxLimits& limits() const { return limits_; }
  const SchedulerReader& schedulers() const { return schedulers_; }
  const ScxExitReader& exits() const { return exits_; }
  const QueueReader& queues() const { return queues_; }
  const RunqueueReader& runqueues() const { return runqueues_; }
  const TaskListReader& tasks() const { return tasks_; }

 private:
  void WalkQueue(MemoryReader& reader, ScxQueueKind kind, int owner, uint64_t address,
                 ScxVisitor& visitor) const;
  void WalkQueues(MemoryReader& reader, const ScxScheduler& root, ScxVisitor& visitor) const;

  const ScxSymbols symbols_;
  const ScxLimits limits_;
  const SchedulerReader schedulers_;
  const ScxExitReader exits_;
  const QueueReader queues_;
  const RunqueueReader runqueues_;
  const TaskListReader tasks_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_SCX_WALK_H_
