// ScxExitReader: why a scheduler ended: struct scx_exit_info.
//
//   ScxExitReader exits(types, symbols);                     // once
//   ScxExitInfo exit = exits.Read(reader, scheduler);        // frozen, and again over the evidence
//   exit.kind                                                // of enum scx_exit_kind
//   exits.kinds().NameOf(*exit.kind)                         // "SCX_EXIT_ERROR_BPF"
//   exit.msg.view()
//
// The kernel claims the exit first (the scheduler's exit_kind) and fills in kind, reason, message,
// backtrace and dump afterwards: they are complete when exit_kind says SCX_EXIT_DONE.
// Threads: immutable; Read allocates nothing. Guest memory is hostile: texts and the backtrace are cut
// at the kernel's own sizes, or the room there is.
// Sources: Linux kernel/sched/ext_internal.h (SCX_EXIT_BT_LEN, SCX_EXIT_MSG_LEN), ext.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_SCX_EXIT_READER_H_
#define WATCHSNAP_DEBUG_KERNEL_SCX_EXIT_READER_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "debug/kernel/scx/enum_names.h"
#include "debug/kernel/scx/field_block.h"
#include "debug/kernel/scx/guest_text.h"
#include "debug/kernel/scx/scheduler_reader.h"
#include "debug/kernel/scx/scx_symbols.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct ScxExitInfo {
  static constexpr size_t kMaxBacktrace = 64;

  std::optional<uint64_t> claimed;  // the scheduler's exit_kind
  bool known = false;               // the struct was read: what follows is of it
  // As filled in, or else as claimed; 0 while the scheduler runs.
  std::optional<uint64_t> kind;
  std::optional<int64_t> exit_code;
  std::optional<int64_t> exit_cpu;  // -1: no CPU in particular
  std::optional<uint64_t> flags;
  GuestText<128> reason;
  GuestText<1024> msg;
  GuestText<1024> dump;  // its beginning
  std::array<uint64_t, kMaxBacktrace> backtrace_bytes = {};
  size_t backtrace_size = 0;
  bool backtrace_cut = false;  // the kernel has more, or it could not be read

  absl::Span<const uint64_t> backtrace() const {
    return absl::MakeConstSpan(backtrace_bytes).first(backtrace_size);
  }
};

class ScxExitReader {
 public:
  ScxExitReader(const TypeGraph& types, const ScxSymbols& symbols);

  ScxExitInfo Read(MemoryReader& reader, const ScxScheduler& scheduler) const;
  // Of the struct scx_sched at `root`; before 6.16 of the only scheduler there is, whatever `root` is.
  ScxExitInfo ReadExitInfo(MemoryReader& reader, uint64_t root) const;

  const EnumNames& kinds() const { return kinds_; }
  const EnumNames& flags() const { return flags_names_; }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  void ReadInfo(MemoryReader& reader, uint64_t info, ScxExitInfo& exit) const;

  const SchedulerReader schedulers_;
  const bool has_root_;
  const EnumNames kinds_, flags_names_;
  FieldBlock info_;
  FieldBlock::Slot kind_, exit_code_, exit_cpu_, flags_, reason_, bt_, bt_len_, msg_, dump_;
  std::vector<std::string> missing_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_SCX_EXIT_READER_H_
