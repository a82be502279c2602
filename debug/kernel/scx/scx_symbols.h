// Where the kernel keeps the state of sched_ext: its variables, at run time.
//
//   ASSIGN_OR_RETURN(ScxSymbols symbols, ScxSymbols::Find(*kernel_symbols, slide));
//
// Two generations are known. From 6.16 on `scx_root` points to a struct scx_sched that holds what one
// scheduler has; that was seen running (7.3). Before, there is one scheduler at most, and each of its
// parts is a variable of the kernel: supported after the sources of 6.12 to 6.15, not seen.
//
// Threads: a value. Units: run-time KVAs; `runqueues` is a per-CPU address. 0: not in this kernel.
// Sources: Linux kernel/sched/ext.c, kernel/sched/ext_internal.h.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_SCX_SYMBOLS_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_SCX_SYMBOLS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {

struct ScxSymbols {
  uint64_t enable_state = 0;  // atomic_t
  uint64_t root = 0;          // struct scx_sched *
  uint64_t all = 0;           // struct list_head of scx_sched.all: with sub-schedulers
  uint64_t tasks = 0;         // struct list_head of sched_ext_entity.tasks_node
  uint64_t switched_all = 0;  // struct static_key_false
  uint64_t runqueues = 0;     // struct rq, per CPU
  uint64_t nr_node_ids = 0;   // unsigned int; 0: one node
  uint64_t bypass_depth = 0;  // int, where it is not a scheduler's own
  // Before 6.16.
  uint64_t ops = 0;          // struct sched_ext_ops
  uint64_t exit_kind = 0;    // atomic_t
  uint64_t exit_info = 0;    // struct scx_exit_info *
  uint64_t dsq_hash = 0;     // struct rhashtable
  uint64_t global_dsqs = 0;  // struct scx_dispatch_q **, by node

  // NotFound("the kernel has no sched_ext").
  static absl::StatusOr<ScxSymbols> Find(const KernelSymbols& symbols, uint64_t slide);
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_SCX_SYMBOLS_H_
