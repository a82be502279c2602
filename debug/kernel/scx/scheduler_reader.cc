#include "debug/kernel/scx/scheduler_reader.h"

#include <algorithm>
#include <cstring>

#include "debug/kernel/struct_field.h"

namespace watchsnap {
namespace {

constexpr auto kOptional = FieldBlock::Presence::kOptional;

std::optional<int32_t> LoadInt(MemoryReader& reader, uint64_t address) {
  int32_t value = 0;
  if (address == 0 || !reader.Load(address, value)) return std::nullopt;
  return value;
}

}  // namespace

ScxNames::ScxNames(const TypeGraph& types)
    : enable_states(types, {"enum scx_enable_state", "enum scx_ops_enable_state"}),
      exit_kinds(types, "enum scx_exit_kind"),
      ops_flags(types, "enum scx_ops_flags") {}

SchedulerReader::SchedulerReader(const TypeGraph& types, const ScxSymbols& symbols)
    : symbols_(symbols),
      names_(types),
      more_(types, "struct scx_sched", kOptional),
      ops_block_(types, "struct sched_ext_ops") {
  if (symbols_.root != 0) {
    StructFields sched(types, "struct scx_sched");
    ops_ = sched.Find("ops");
    exit_kind_ = sched.Find("exit_kind");
    exit_info_ = sched.Find("exit_info");
    dsq_hash_ = sched.Find("dsq_hash");
    global_dsqs_ = sched.FindFirst({"pnode", "global_dsqs"});
    missing_ = sched.missing();
    StructFields optional(types, "struct scx_sched");
    bypass_depth_ = optional.Find("bypass_depth");
    all_ = optional.Find("all");
    if (!bypass_depth_.found() && symbols_.bypass_depth == 0) {
      missing_.push_back("struct scx_sched has no bypass_depth");
    }
  }
  aborting_ = more_.Add({"aborting"}, kOptional);
  id_ = more_.Add({"id"}, kOptional);
  level_ = more_.Add({"level"}, kOptional);
  slice_dfl_ = more_.Add({"slice_dfl"}, kOptional);
  cgroup_path_ = more_.Add({"cgrp_path"}, kOptional);
  per_cpu_ = more_.Add({"pcpu"}, kOptional);

  ops_name_ = ops_block_.Add({"name"});
  ops_flags_ = ops_block_.Add({"flags"});
  timeout_ms_ = ops_block_.Add({"timeout_ms"});
  max_batch_ = ops_block_.Add({"dispatch_max_batch"});
  missing_.insert(missing_.end(), ops_block_.missing().begin(), ops_block_.missing().end());
}

std::optional<uint64_t> SchedulerReader::ReadState(MemoryReader& reader) const {
  uint32_t state = 0;
  if (!reader.Load(symbols_.enable_state, state)) return std::nullopt;
  return state;
}

std::optional<bool> SchedulerReader::ReadSwitchedAll(MemoryReader& reader) const {
  // struct static_key begins with its counter.
  const std::optional<int32_t> enabled = LoadInt(reader, symbols_.switched_all);
  if (!enabled.has_value()) return std::nullopt;
  return *enabled != 0;
}

bool SchedulerReader::FindRoot(MemoryReader& reader, ScxScheduler& root, bool* unreadable) const {
  if (unreadable != nullptr) *unreadable = false;
  if (symbols_.root == 0) {
    root = {.ops = symbols_.ops,
            .exit_kind = symbols_.exit_kind,
            .exit_info = symbols_.exit_info,
            .dsq_hash = symbols_.dsq_hash,
            .global_dsqs = symbols_.global_dsqs,
            .bypass_depth = symbols_.bypass_depth};
    // The ops are copied there when a scheduler is loaded, and zeroed when it has gone.
    const StructField& name = ops_block_.field(ops_name_);
    char first = 0;
    return name.found() && reader.Load(root.ops + name.offset, first) && first != 0;
  }
  uint64_t address = 0;
  if (!reader.Load(symbols_.root, address) || (address != 0 && !IsKernelAddress(address))) {
    if (unreadable != nullptr) *unreadable = true;
    return false;
  }
  if (address == 0) return false;
  root = At(address);
  return true;
}

ScxScheduler SchedulerReader::At(uint64_t address) const {
  const auto place = [address](const StructField& field) {
    return field.found() ? address + field.offset : 0;
  };
  return {.address = address,
          .ops = place(ops_),
          .exit_kind = place(exit_kind_),
          .exit_info = place(exit_info_),
          .dsq_hash = place(dsq_hash_),
          .global_dsqs = place(global_dsqs_),
          .bypass_depth = bypass_depth_.found() ? place(bypass_depth_) : symbols_.bypass_depth};
}

ScxSchedulerInfo SchedulerReader::Read(MemoryReader& reader,
                                       const ScxScheduler& scheduler) const {
  ScxSchedulerInfo info;
  info.address = scheduler.address;
  FieldBlock::Copy copy;
  if (scheduler.ops != 0 && ops_block_.Read(reader, scheduler.ops, copy)) {
    const absl::Span<const uint8_t> name = ops_block_.GetBytes(copy, ops_name_);
    info.ops_name.known = !name.empty();
    info.ops_name.size = strnlen(reinterpret_cast<const char*>(name.data()),
                                 std::min(name.size(), info.ops_name.bytes.size()));
    std::copy_n(name.begin(), info.ops_name.size, info.ops_name.bytes.begin());
    info.ops_flags = ops_block_.Get(copy, ops_flags_);
    info.timeout_ms = ops_block_.Get(copy, timeout_ms_);
    info.dispatch_max_batch = ops_block_.Get(copy, max_batch_);
  }
  if (const auto kind = LoadInt(reader, scheduler.exit_kind); kind.has_value()) {
    info.exit_kind = static_cast<uint32_t>(*kind);
  }
  info.bypass_depth = LoadInt(reader, scheduler.bypass_depth);
  if (scheduler.address == 0 || !more_.Read(reader, scheduler.address, copy)) return info;
  info.slice_dfl = more_.Get(copy, slice_dfl_);
  info.id = more_.Get(copy, id_);
  info.level = more_.GetSigned(copy, level_);
  if (const auto aborting = more_.Get(copy, aborting_); aborting.has_value()) {
    info.aborting = *aborting != 0;
  }
  info.per_cpu = more_.Get(copy, per_cpu_).value_or(0);
  const uint64_t path = more_.Get(copy, cgroup_path_).value_or(0);
  if (info.level.value_or(0) > 0 && IsKernelAddress(path)) {
    (void)ReadGuestText(reader, path, info.cgroup_path);
  }
  return info;
}

WalkEnd SchedulerReader::ForEachSub(MemoryReader& reader, const ScxScheduler& root, int max,
                                    absl::FunctionRef<void(const ScxSchedulerInfo&)> visit) const {
  uint64_t first = 0;
  if (symbols_.all == 0 || !all_.found()) return WalkEnd::kWhole;
  if (!reader.Load(symbols_.all, first)) return WalkEnd::kUnreadable;
  return WalkChain(
      first, max + 1, [this](uint64_t at) { return at == symbols_.all; },
      [&](uint64_t at, uint64_t& next) {
        if (!reader.Load(at, next)) return false;
        const uint64_t address = at - all_.offset;
        if (address != root.address) visit(Read(reader, At(address)));
        return true;
      });
}

}  // namespace watchsnap
