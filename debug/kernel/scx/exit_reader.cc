#include "debug/kernel/scx/exit_reader.h"

#include <algorithm>

#include "debug/kernel/scx/bounded_walk.h"

namespace watchsnap {

ScxExitReader::ScxExitReader(const TypeGraph& types, const ScxSymbols& symbols)
    : schedulers_(types, symbols),
      has_root_(symbols.root != 0),
      kinds_(types, "enum scx_exit_kind"),
      flags_names_(types, "enum scx_exit_flags"),
      info_(types, "struct scx_exit_info") {
  constexpr auto kOptional = FieldBlock::Presence::kOptional;
  kind_ = info_.Add({"kind"});
  exit_code_ = info_.Add({"exit_code"});
  exit_cpu_ = info_.Add({"exit_cpu"}, kOptional);
  flags_ = info_.Add({"flags"}, kOptional);
  reason_ = info_.Add({"reason"});
  bt_ = info_.Add({"bt"});
  bt_len_ = info_.Add({"bt_len"});
  msg_ = info_.Add({"msg"});
  dump_ = info_.Add({"dump"});
  missing_ = info_.missing();
}

void ScxExitReader::ReadInfo(MemoryReader& reader, uint64_t info, ScxExitInfo& exit) const {
  FieldBlock::Copy copy;
  if (!info_.Read(reader, info, copy)) return;
  exit.known = true;
  exit.kind = info_.Get(copy, kind_);
  exit.exit_code = info_.GetSigned(copy, exit_code_);
  exit.exit_cpu = info_.GetSigned(copy, exit_cpu_);
  exit.flags = info_.Get(copy, flags_);
  const auto text = [&](FieldBlock::Slot slot, auto& out) {
    const uint64_t at = info_.Get(copy, slot).value_or(0);
    if (IsKernelAddress(at)) (void)ReadGuestText(reader, at, out);
  };
  text(reason_, exit.reason);
  text(msg_, exit.msg);
  text(dump_, exit.dump);
  const uint64_t bt = info_.Get(copy, bt_).value_or(0);
  const uint64_t length = info_.Get(copy, bt_len_).value_or(0);
  const size_t size = std::min<uint64_t>(length, ScxExitInfo::kMaxBacktrace);
  exit.backtrace_cut = length > size;
  if (size == 0) return;
  if (!IsKernelAddress(bt) ||
      !reader.Read(bt, absl::MakeSpan(reinterpret_cast<uint8_t*>(exit.backtrace_bytes.data()),
                                      size * sizeof(uint64_t)))) {
    exit.backtrace_cut = true;
    return;
  }
  exit.backtrace_size = size;
}

ScxExitInfo ScxExitReader::Read(MemoryReader& reader, const ScxScheduler& scheduler) const {
  ScxExitInfo exit;
  uint32_t claimed = 0;
  if (scheduler.exit_kind != 0 && reader.Load(scheduler.exit_kind, claimed)) {
    exit.claimed = claimed;
  }
  uint64_t info = 0;
  if (scheduler.exit_info != 0 && reader.Load(scheduler.exit_info, info) &&
      IsKernelAddress(info)) {
    ReadInfo(reader, info, exit);
  }
  if (exit.kind.value_or(0) == 0) exit.kind = exit.claimed;
  return exit;
}

ScxExitInfo ScxExitReader::ReadExitInfo(MemoryReader& reader, uint64_t root) const {
  if (has_root_) {
    return IsKernelAddress(root) ? Read(reader, schedulers_.At(root)) : ScxExitInfo();
  }
  ScxScheduler only;
  (void)schedulers_.FindRoot(reader, only);
  return Read(reader, only);
}

}  // namespace watchsnap
