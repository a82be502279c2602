// TaskReader: what a struct task_struct says of its task.
//
//   TaskReader tasks(*types);                               // once
//   TaskInfo task = tasks.Read(reader, address);            // frozen, and again over the evidence
//   if (task.pid) …
//
// A kernel that lacks a member leaves that one out, and `missing` says so; so does memory that cannot
// be read. Threads: immutable; Read allocates nothing.
// Sources: Linux include/linux/sched.h, fs/proc/array.c (the state's letter),
// include/uapi/linux/sched.h (policies).
#ifndef WATCHSNAP_DEBUG_KERNEL_TASK_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_TASK_READER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "debug/kernel/struct_field.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct TaskInfo {
  uint64_t address = 0;
  std::optional<int32_t> pid;   // the thread's
  std::optional<int32_t> tgid;  // the process's
  std::optional<char> state;    // a letter as in /proc/PID/stat
  std::optional<uint32_t> policy;
  std::optional<int32_t> prio;
  std::optional<uint32_t> cpu;
  bool has_comm = false;
  std::array<char, 16> comm_bytes = {};

  std::string_view comm() const;
};

class TaskReader {
 public:
  explicit TaskReader(const TypeGraph& types);

  TaskInfo Read(MemoryReader& reader, uint64_t task) const;
  // The two that name it: what lists of many tasks want.
  TaskInfo ReadName(MemoryReader& reader, uint64_t task) const;

  // "struct task_struct has no prio": what this kernel does not have.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  StructField pid_, tgid_, comm_, state_, exit_state_, policy_, prio_, cpu_;
  std::vector<std::string> missing_;
};

// "SCHED_NORMAL", "SCHED_EXT", …; empty for a number that is none.
std::string_view SchedPolicyName(uint32_t policy);

// The letter for task_struct's __state and exit_state.
char TaskStateLetter(uint64_t state, uint64_t exit_state);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_TASK_READER_H_
