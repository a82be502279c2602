// SchedulerReader: the scheduler that sched_ext has loaded: where its parts are, its ops, its state.
//
//   SchedulerReader schedulers(types, symbols);                     // once
//   ScxScheduler root;
//   if (schedulers.FindRoot(reader, root)) …                        // none is loaded: false
//   ScxSchedulerInfo info = schedulers.Read(reader, root);
//
// Threads: immutable; what reads allocates nothing. Guest memory is hostile: pointers are followed
// only into the kernel's half, lists are bounded.
// Sources: Linux kernel/sched/ext_internal.h (struct scx_sched, struct sched_ext_ops).
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_SCHEDULER_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_SCHEDULER_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "debug/kernel/scx/bounded_walk.h"
#include "debug/kernel/scx/enum_names.h"
#include "debug/kernel/scx/field_block.h"
#include "debug/kernel/scx/guest_text.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

// Addresses of one scheduler's parts; 0 for what this kernel does not have.
struct ScxScheduler {
  uint64_t address = 0;       // of its struct scx_sched; 0 before 6.16
  uint64_t ops = 0;           // struct sched_ext_ops
  uint64_t exit_kind = 0;     // atomic_t
  uint64_t exit_info = 0;     // the pointer struct scx_exit_info *
  uint64_t dsq_hash = 0;      // struct rhashtable
  uint64_t global_dsqs = 0;   // pointer to an array by node
  uint64_t bypass_depth = 0;  // int
};

struct ScxSchedulerInfo {
  uint64_t address = 0;
  GuestText<128> ops_name;
  std::optional<uint64_t> ops_flags;
  std::optional<uint64_t> timeout_ms;
  std::optional<uint64_t> dispatch_max_batch;
  std::optional<uint64_t> exit_kind;
  std::optional<int64_t> bypass_depth;
  // Only in kernels that have them.
  std::optional<uint64_t> slice_dfl;
  std::optional<bool> aborting;
  std::optional<uint64_t> id;
  std::optional<int64_t> level;  // of a sub-scheduler above 0
  GuestText<256> cgroup_path;    // of a sub-scheduler
  uint64_t per_cpu = 0;          // struct scx_sched_pcpu, a per-CPU address; 0: none
};

struct ScxNames {
  explicit ScxNames(const TypeGraph& types);
  EnumNames enable_states, exit_kinds, ops_flags;
};

class SchedulerReader {
 public:
  SchedulerReader(const TypeGraph& types, const ScxSymbols& symbols);

  // scx_enable_state_var.
  std::optional<uint64_t> ReadState(MemoryReader& reader) const;
  // Whether every task that can is scheduled by it.
  std::optional<bool> ReadSwitchedAll(MemoryReader& reader) const;
  // False where none is loaded, or where the pointer cannot be read (then `unreadable`).
  bool FindRoot(MemoryReader& reader, ScxScheduler& root, bool* unreadable = nullptr) const;
  // The parts of the scheduler whose struct scx_sched is at `address`.
  ScxScheduler At(uint64_t address) const;

  ScxSchedulerInfo Read(MemoryReader& reader, const ScxScheduler& scheduler) const;
  // All schedulers but `root`, `max` at most.
  WalkEnd ForEachSub(MemoryReader& reader, const ScxScheduler& root, int max,
                     absl::FunctionRef<void(const ScxSchedulerInfo&)> visit) const;

  const ScxNames& names() const { return names_; }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  const ScxSymbols symbols_;
  const ScxNames names_;
  // struct scx_sched: what is only located, and what is read.
  StructField ops_, exit_kind_, exit_info_, dsq_hash_, global_dsqs_, bypass_depth_, all_;
  FieldBlock more_;
  FieldBlock::Slot aborting_, id_, level_, slice_dfl_, cgroup_path_, per_cpu_;
  FieldBlock ops_block_;
  FieldBlock::Slot ops_name_, ops_flags_, timeout_ms_, max_batch_;
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_SCHEDULER_READER_H_
