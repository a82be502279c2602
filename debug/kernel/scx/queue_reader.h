// QueueReader: dispatch queues (struct scx_dispatch_q): how many tasks wait, which, in what order.
//
//   QueueReader queues(types);                                       // once
//   ScxQueueInfo queue = queues.Read(reader, address);
//   WalkEnd end = queues.ForEachTask(reader, address, 64, [](const ScxQueuedTask& task) { … });
//   end = queues.ForEachInTable(reader, scheduler.dsq_hash, 64, [](uint64_t address) { … });
//
// Threads: immutable; allocates nothing. Every walk is bounded, whatever the lists and the table say.
// Sources: Linux include/linux/sched/ext.h, include/linux/rhashtable.h (a chain ends in an odd
// pointer; the lowest bit of a bucket is its lock), lib/rhashtable.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_QUEUE_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_QUEUE_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "debug/kernel/scx/bounded_walk.h"
#include "debug/kernel/scx/enum_names.h"
#include "debug/kernel/scx/field_block.h"
#include "debug/kernel/struct_field.h"
#include "debug/kernel/task_reader.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ScxQueueInfo {
  uint64_t address = 0;
  std::optional<uint64_t> id;
  std::optional<uint64_t> nr;
};

class QueueReader {
 public:
  explicit QueueReader(const TypeGraph& types);

  ScxQueueInfo Read(MemoryReader& reader, uint64_t queue) const;
  // In the order in which they will be dispatched; iterators' cursors are left out. `max` nodes.
  WalkEnd ForEachTask(MemoryReader& reader, uint64_t queue, int max,
                      absl::FunctionRef<void(const TaskInfo&)> visit) const;
  // The queues that a scheduler made: of the rhashtable at `hash`, `max` at most.
  WalkEnd ForEachInTable(MemoryReader& reader, uint64_t hash, int max,
                         absl::FunctionRef<void(uint64_t queue)> visit) const;
  // The built-in global queues, by node: `pointers` is where the pointer to their array is.
  WalkEnd ForEachGlobal(MemoryReader& reader, uint64_t pointers, int nodes,
                        absl::FunctionRef<void(int node, uint64_t queue)> visit) const;

  // "SCX_DSQ_LOCAL", "SCX_DSQ_LOCAL_ON|3"; empty for a queue that a scheduler made.
  std::string NameOfId(uint64_t id) const;
  bool IsBuiltin(uint64_t id) const { return (id & builtin_) != 0; }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  WalkEnd WalkBuckets(MemoryReader& reader, uint64_t table, uint64_t buckets, int& left,
                      absl::FunctionRef<void(uint64_t queue)> visit) const;

  const TaskReader tasks_;
  const EnumNames ids_;
  uint64_t builtin_ = 0;
  uint32_t cursor_flag_ = 0;
  FieldBlock queue_;
  FieldBlock::Slot id_, nr_;
  StructField list_, hash_node_;                     // in struct scx_dispatch_q
  StructField task_node_;                            // in struct task_struct
  StructField node_flags_;                           // from the node
  StructField table_, size_, nest_, future_, buckets_;  // rhashtable, bucket_table
  StructField in_pnode_;                             // struct scx_sched_pnode.global_dsq
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_QUEUE_READER_H_
