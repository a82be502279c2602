#include "debug/kernel/scx/task_list_reader.h"

namespace watchsnap {

TaskListReader::TaskListReader(const TypeGraph& types, const ScxSymbols& symbols)
    : list_(symbols.tasks),
      flag_names_(types, "enum scx_ent_flags"),
      state_names_(types, "enum scx_task_state"),
      run_(types, "struct task_struct"),
      identity_(types, "struct task_struct"),
      entity_(types, "struct sched_ext_entity") {
  // The numbers behind the defaults: include/linux/sched/ext.h of 6.12.
  state_mask_ = flag_names_.ValueOf("SCX_TASK_STATE_MASK").value_or(0x300);
  state_shift_ = static_cast<int>(flag_names_.ValueOf("SCX_TASK_STATE_SHIFT").value_or(8) & 63);
  cursor_flag_ = flag_names_.ValueOf("SCX_TASK_CURSOR").value_or(uint64_t{1} << 31);
  fields_mask_ = state_mask_ | flag_names_.ValueOf("SCX_TASK_REENQ_REASON_MASK").value_or(0);
  constexpr auto kOptional = FieldBlock::Presence::kOptional;
  node_ = entity_.Add({"tasks_node"});
  flags_ = entity_.Add({"flags"});
  weight_ = entity_.Add({"weight"});
  slice_ = entity_.Add({"slice"});
  dsq_vtime_ = entity_.Add({"dsq_vtime"});
  runnable_at_ = entity_.Add({"runnable_at"});
  sticky_cpu_ = entity_.Add({"sticky_cpu"});
  holding_cpu_ = entity_.Add({"holding_cpu"});
  dsq_ = entity_.Add({"dsq"});
  scheduler_ = entity_.Add({"sched"}, kOptional);
  missing_ = entity_.missing();
  StructFields task(types, "struct task_struct");
  scx_ = task.Find("scx");
  comm_ = task.Find("comm");
  policy_ = task.Find("policy");
  cpu_ = run_.Add({"thread_info.cpu", "cpu"});
  state_ = run_.Add({"__state"});
  exit_state_ = identity_.Add({"exit_state"});
  pid_ = identity_.Add({"pid"});
  for (const std::vector<std::string>* more :
       {&task.missing(), &run_.missing(), &identity_.missing()}) {
    missing_.insert(missing_.end(), more->begin(), more->end());
  }
  if (list_ == 0) missing_.push_back("the kernel has no list scx_tasks");
  dsq_id_ = StructFields(types, "struct scx_dispatch_q").Find("id");
}

TaskInfo TaskListReader::ReadTask(MemoryReader& reader, uint64_t task) const {
  TaskInfo info;
  info.address = task;
  FieldBlock::Copy copy;
  std::optional<uint64_t> state;
  if (run_.Read(reader, task, copy)) {
    state = run_.Get(copy, state_);
    if (const auto cpu = run_.Get(copy, cpu_); cpu.has_value()) {
      info.cpu = static_cast<uint32_t>(*cpu);
    }
  }
  if (identity_.Read(reader, task, copy)) {
    if (const auto pid = identity_.GetSigned(copy, pid_); pid.has_value()) {
      info.pid = static_cast<int32_t>(*pid);
    }
    if (state.has_value()) {
      info.state = TaskStateLetter(*state, identity_.Get(copy, exit_state_).value_or(0));
    }
  }
  if (comm_.found() && comm_.size <= info.comm_bytes.size()) {
    info.has_comm =
        reader.Read(task + comm_.offset,
                    absl::MakeSpan(reinterpret_cast<uint8_t*>(info.comm_bytes.data()), comm_.size));
  }
  uint64_t policy = 0;
  if (policy_.Load(reader, task, policy)) info.policy = static_cast<uint32_t>(policy);
  return info;
}

WalkEnd TaskListReader::ForEach(MemoryReader& reader, int max,
                                absl::FunctionRef<void(const ScxTaskInfo&)> visit) const {
  const StructField& node = entity_.field(node_);
  uint64_t first = 0;
  if (list_ == 0 || !node.found() || !scx_.found() || !reader.Load(list_, first)) {
    return WalkEnd::kUnreadable;
  }
  return WalkChain(
      first, max, [this](uint64_t at) { return at == list_; },
      [&](uint64_t at, uint64_t& next) {
        const uint64_t entity = at - node.offset;
        FieldBlock::Copy copy;
        if (!entity_.Read(reader, entity, copy)) return false;
        // The node is a list_head: its first word is what comes next.
        const StructField whole = {.offset = 0, .size = 8};
        if (!whole.From(entity_.GetBytes(copy, node_), next)) return false;
        ScxTaskInfo info;
        info.flags = entity_.Get(copy, flags_);
        // Whoever walks the list in the kernel leaves such a mark; it is no task.
        if ((info.flags.value_or(0) & cursor_flag_) != 0) return true;
        info.weight = entity_.Get(copy, weight_);
        info.slice = entity_.Get(copy, slice_);
        info.dsq_vtime = entity_.Get(copy, dsq_vtime_);
        info.runnable_at = entity_.Get(copy, runnable_at_);
        info.sticky_cpu = entity_.GetSigned(copy, sticky_cpu_);
        info.holding_cpu = entity_.GetSigned(copy, holding_cpu_);
        info.scheduler = entity_.Get(copy, scheduler_);
        info.dsq = entity_.Get(copy, dsq_);
        uint64_t id = 0;
        if (IsKernelAddress(info.dsq.value_or(0)) && dsq_id_.Load(reader, *info.dsq, id)) {
          info.dsq_id = id;
        }
        info.task = ReadTask(reader, entity - scx_.offset);
        visit(info);
        return true;
      });
}

std::string_view TaskListReader::StateName(uint64_t flags) const {
  const uint64_t state = flags & state_mask_;
  // Of its own enum, a small number; or among the flags, in place.
  if (state_names_.found()) return state_names_.NameOf(state >> state_shift_);
  // A state of 0 shares its number with other enumerators that are 0.
  return state == 0 ? "SCX_TASK_NONE" : flag_names_.NameOf(state);
}

std::string TaskListReader::FlagNames(uint64_t flags) const {
  return flag_names_.FlagsOf(flags & ~fields_mask_);
}

}  // namespace watchsnap
