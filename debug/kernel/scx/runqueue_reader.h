// RunqueueReader: one CPU's run queue as sched_ext sees it: struct rq and its scx.
//
//   RunqueueReader runqueues(types, symbols, per_cpu);                // once
//   ScxCpuInfo cpu = runqueues.Read(reader, 0, root);
//
// Threads: immutable; Read allocates nothing. Sources: Linux kernel/sched/sched.h.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_RUNQUEUE_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_RUNQUEUE_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "debug/kernel/per_cpu.h"
#include "debug/kernel/scx/enum_names.h"
#include "debug/kernel/scx/field_block.h"
#include "debug/kernel/scx/scheduler_reader.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/kernel/struct_field.h"
#include "debug/kernel/task_reader.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ScxCpuInfo {
  int cpu = 0;
  uint64_t runqueue = 0;
  bool known = false;  // its struct rq was read
  std::optional<uint64_t> nr_running;      // of all classes
  std::optional<uint64_t> scx_nr_running;  // of sched_ext
  std::optional<uint64_t> flags;           // enum scx_rq_flags
  std::optional<bool> cpu_released;        // to a higher class
  std::optional<bool> bypassing;
  TaskInfo curr;  // address 0: not known
  uint64_t local_dsq = 0;   // struct scx_dispatch_q; 0: not in this kernel
  uint64_t bypass_dsq = 0;  // the same
};

class RunqueueReader {
 public:
  RunqueueReader(const TypeGraph& types, const ScxSymbols& symbols, PerCpu per_cpu);

  int cpus() const { return symbols_.runqueues == 0 ? 0 : per_cpu_.cpus(); }
  ScxCpuInfo Read(MemoryReader& reader, int cpu, const ScxSchedulerInfo& root) const;

  const EnumNames& flag_names() const { return flag_names_; }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  const ScxSymbols symbols_;
  const PerCpu per_cpu_;
  const TaskReader tasks_;
  const EnumNames flag_names_;
  uint64_t rq_bypassing_ = 0;      // of scx_rq.flags; 0: kernels that keep it elsewhere
  uint64_t per_cpu_bypassing_ = 0;  // of scx_sched_pcpu.flags
  StructField nr_running_, curr_, scx_;  // of struct rq
  FieldBlock scx_block_;
  FieldBlock::Slot scx_nr_running_, flags_, cpu_released_;
  StructField local_dsq_, bypass_dsq_in_rq_;           // of struct scx_rq
  StructField per_cpu_flags_, bypass_dsq_per_cpu_;     // of struct scx_sched_pcpu
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_RUNQUEUE_READER_H_
