#include "debug/kernel/scx/scx_walk.h"

#include <utility>

namespace watchsnap {

ScxKernel::ScxKernel(const TypeGraph& types, const ScxSymbols& symbols, PerCpu per_cpu,
                     ScxLimits limits)
    : symbols_(symbols),
      limits_(limits),
      schedulers_(types, symbols),
      exits_(types, symbols),
      queues_(types),
      runqueues_(types, symbols, std::move(per_cpu)),
      tasks_(types, symbols) {}

void ScxKernel::WalkQueue(MemoryReader& reader, ScxQueueKind kind, int owner, uint64_t address,
                          ScxVisitor& visitor) const {
  visitor.OnQueue(kind, owner, queues_.Read(reader, address));
  visitor.OnQueueEnd(
      queues_.ForEachTask(reader, address, limits_.tasks_of_a_queue,
                          [&visitor](const TaskInfo& task) { visitor.OnQueuedTask(task); }));
}

void ScxKernel::WalkQueues(MemoryReader& reader, const ScxScheduler& root,
                           ScxVisitor& visitor) const {
  if (root.global_dsqs != 0) {
    int32_t nodes = 1;
    if (symbols_.nr_node_ids != 0) (void)reader.Load(symbols_.nr_node_ids, nodes);
    visitor.OnQueuesEnd(ScxQueueKind::kGlobal,
                        queues_.ForEachGlobal(reader, root.global_dsqs, nodes,
                                              [&](int node, uint64_t queue) {
                                                WalkQueue(reader, ScxQueueKind::kGlobal, node,
                                                          queue, visitor);
                                              }));
  }
  if (root.dsq_hash != 0) {
    visitor.OnQueuesEnd(ScxQueueKind::kUser,
                        queues_.ForEachInTable(reader, root.dsq_hash, limits_.queues,
                                               [&](uint64_t queue) {
                                                 WalkQueue(reader, ScxQueueKind::kUser, -1, queue,
                                                           visitor);
                                               }));
  }
}

void ScxKernel::Walk(MemoryReader& reader, ScxVisitor& visitor) const {
  ScxStateInfo state;
  state.state = schedulers_.ReadState(reader);
  ScxScheduler root;
  state.loaded = schedulers_.FindRoot(reader, root, &state.root_unreadable);
  if (state.loaded) state.switched_all = schedulers_.ReadSwitchedAll(reader);
  visitor.OnState(state);
  if (!state.loaded) return;
  const ScxSchedulerInfo info = schedulers_.Read(reader, root);
  visitor.OnRoot(info);
  visitor.OnExit(exits_.Read(reader, root));
  visitor.OnSubSchedulersEnd(schedulers_.ForEachSub(
      reader, root, limits_.sub_schedulers,
      [&visitor](const ScxSchedulerInfo& sub) { visitor.OnSubScheduler(sub); }));
  for (int cpu = 0; cpu < runqueues_.cpus(); ++cpu) {
    const ScxCpuInfo of_cpu = runqueues_.Read(reader, cpu, info);
    visitor.OnCpu(of_cpu);
    if (of_cpu.local_dsq != 0) {
      WalkQueue(reader, ScxQueueKind::kLocal, cpu, of_cpu.local_dsq, visitor);
    }
    if (of_cpu.bypass_dsq != 0) {
      WalkQueue(reader, ScxQueueKind::kBypass, cpu, of_cpu.bypass_dsq, visitor);
    }
    visitor.OnCpuEnd(of_cpu);
  }
  WalkQueues(reader, root, visitor);
  visitor.OnTasksEnd(tasks_.ForEach(
      reader, limits_.tasks, [&visitor](const ScxTaskInfo& task) { visitor.OnTask(task); }));
}

}  // namespace watchsnap
