// TaskListReader: every task that sched_ext knows of (the kernel's list scx_tasks), with what struct
// sched_ext_entity says of it. While a scheduler is loaded that is every task of the system.
//
//   TaskListReader tasks(types, symbols);                            // once
//   WalkEnd end = tasks.ForEach(reader, 256, [](const ScxTaskInfo& task) { … });
//
// Threads: immutable; allocates nothing; a bounded walk whatever the list says.
// Sources: Linux include/linux/sched/ext.h, kernel/sched/ext.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_TASK_LIST_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_TASK_LIST_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "debug/kernel/scx/bounded_walk.h"
#include "debug/kernel/scx/enum_names.h"
#include "debug/kernel/scx/field_block.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/kernel/struct_field.h"
#include "debug/kernel/task_reader.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ScxTaskInfo {
  TaskInfo task;  // without tgid and prio
  std::optional<uint64_t> flags;  // enum scx_ent_flags, the state among them
  std::optional<uint64_t> weight;
  std::optional<uint64_t> slice;  // ns that are left
  std::optional<uint64_t> dsq_vtime;
  std::optional<uint64_t> runnable_at;  // in jiffies
  std::optional<int64_t> sticky_cpu;    // -1: none
  std::optional<int64_t> holding_cpu;   // -1: none
  std::optional<uint64_t> dsq;          // struct scx_dispatch_q; 0: in none
  std::optional<uint64_t> dsq_id;
  std::optional<uint64_t> scheduler;    // struct scx_sched, in kernels with several
};

class TaskListReader {
 public:
  TaskListReader(const TypeGraph& types, const ScxSymbols& symbols);

  WalkEnd ForEach(MemoryReader& reader, int max,
                  absl::FunctionRef<void(const ScxTaskInfo&)> visit) const;

  // "SCX_TASK_ENABLED": the state inside `flags`; empty where it has no name.
  std::string_view StateName(uint64_t flags) const;
  // "SCX_TASK_QUEUED|…": the bits of `flags` that are flags.
  std::string FlagNames(uint64_t flags) const;
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  TaskInfo ReadTask(MemoryReader& reader, uint64_t task) const;

  const uint64_t list_;
  const EnumNames flag_names_, state_names_;
  uint64_t state_mask_ = 0;
  uint64_t fields_mask_ = 0;  // the bits of `flags` that are numbers, the state's among them
  int state_shift_ = 0;
  uint64_t cursor_flag_ = 0;
  // Of struct task_struct; what stands together is read together, as there are many tasks.
  StructField scx_, comm_, policy_;
  FieldBlock run_, identity_;
  FieldBlock::Slot cpu_, state_, exit_state_, pid_;
  FieldBlock entity_;
  FieldBlock::Slot node_, flags_, weight_, slice_, dsq_vtime_, runnable_at_, sticky_cpu_,
      holding_cpu_, dsq_, scheduler_;
  StructField dsq_id_;  // of struct scx_dispatch_q
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_TASK_LIST_READER_H_
