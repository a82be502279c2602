#include "snapshot/parts/scx_json.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "snapshot/parts/task_json.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr std::string_view kNotThere = "not in the evidence: it could not be read";

// The items of an array that is being put together, without its brackets.
std::string& NextItem(std::string& items) {
  if (!items.empty()) items += ',';
  return items;
}

std::string Array(std::string_view items) { return absl::StrCat("[", items, "]"); }

void Number(JsonObject& object, std::string_view name, const std::optional<uint64_t>& value) {
  if (value.has_value()) object.Uint(name, *value);
}

void Signed(JsonObject& object, std::string_view name, const std::optional<int64_t>& value) {
  if (value.has_value()) object.Int(name, *value);
}

void Bool(JsonObject& object, std::string_view name, const std::optional<bool>& value) {
  if (value.has_value()) object.Raw(name, *value ? "true" : "false");
}

template <size_t N>
void Text(JsonObject& object, std::string_view name, const GuestText<N>& text) {
  if (text.known && !text.view().empty()) object.String(name, text.view());
}

// By name, or as the number it is.
void Named(JsonObject& object, std::string_view name, const EnumNames& names,
           const std::optional<uint64_t>& value) {
  if (!value.has_value()) return;
  const std::string_view text = names.NameOf(*value);
  if (text.empty()) {
    object.Uint(name, *value);
  } else {
    object.String(name, text);
  }
}

void Flags(JsonObject& object, std::string_view name, const EnumNames& names,
           const std::optional<uint64_t>& value) {
  if (value.has_value()) object.String(name, names.FlagsOf(*value));
}

// SCX_ENABLED, SCX_OPS_ENABLED: "enabled".
std::string StateWord(std::string_view name) {
  if (!absl::ConsumePrefix(&name, "SCX_OPS_")) (void)absl::ConsumePrefix(&name, "SCX_");
  return absl::AsciiStrToLower(name);
}

// Why a list is not all there; empty where it is.
std::string WhyCut(WalkEnd end, int limit) {
  switch (end) {
    case WalkEnd::kWhole:
      return "";
    case WalkEnd::kCut:
      return absl::StrCat("there are more than ", limit, "; the rest was left out");
    case WalkEnd::kUnreadable:
      return "the list leads to what is not in the evidence; what comes after was left out";
    case WalkEnd::kCycle:
      return "the list runs in a circle: it is damaged, or was being changed";
  }
  return "";
}

}  // namespace

void AppendScxExit(const ScxExitInfo& exit, const ScxExitReader& names,
                   const ScxSymbolizer& symbolize, std::string& out) {
  JsonObject object(out);
  Named(object, "kind", names.kinds(), exit.kind);
  if (exit.kind.value_or(0) != 0) {
    Signed(object, "exit_code", exit.exit_code);
    if (exit.exit_cpu.value_or(-1) >= 0) object.Int("exit_cpu", *exit.exit_cpu);
    Flags(object, "flags", names.flags(), exit.flags);
  }
  Text(object, "reason", exit.reason);
  Text(object, "msg", exit.msg);
  if (exit.backtrace_size != 0) {
    std::string frames;
    for (const uint64_t address : exit.backtrace()) {
      const std::string symbol = symbolize ? symbolize(address) : "";
      AppendJsonString(NextItem(frames),
                       symbol.empty() ? absl::StrCat("0x", absl::Hex(address)) : symbol);
    }
    object.Raw("backtrace", Array(frames));
  }
  Text(object, "dump", exit.dump);
  object.Close();
}

void ScxJsonWriter::LacksRest(std::string what, WalkEnd end, int limit) {
  std::string why = WhyCut(end, limit);
  if (!why.empty()) Lacks(std::move(what), std::move(why));
}

void ScxJsonWriter::AddMissing(std::string_view where, const std::vector<std::string>& missing) {
  for (const std::string& why : missing) {
    const auto known = [&why](const Degraded& entry) { return entry.why == why; };
    if (std::any_of(degraded_.begin(), degraded_.end(), known)) continue;
    // "struct scx_rq has no flags": of the member, if it is one.
    const size_t name = why.rfind(" has no ");
    Lacks(name == std::string::npos ? std::string(where)
                                    : absl::StrCat(where, ".", why.substr(name + 8)),
          why);
  }
}

void ScxJsonWriter::OnState(const ScxStateInfo& state) {
  state_ = state;
  if (!state.state.has_value()) Lacks("scx.state", std::string(kNotThere));
  if (state.root_unreadable) Lacks("scx.root", "scx_root could not be read, or holds no address");
}

void ScxJsonWriter::OnRoot(const ScxSchedulerInfo& root) {
  const ScxNames& names = scx_.schedulers().names();
  root_address_ = root.address;
  bypass_depth_ = root.bypass_depth;
  JsonObject object(root_);
  if (root.address != 0) object.Hex("address", root.address);
  if (root.ops_name.known) object.String("ops_name", root.ops_name.view());
  Flags(object, "ops_flags", names.ops_flags, root.ops_flags);
  Number(object, "timeout_ms", root.timeout_ms);
  Number(object, "dispatch_max_batch", root.dispatch_max_batch);
  Named(object, "exit_kind", names.exit_kinds, root.exit_kind);
  Number(object, "slice_dfl", root.slice_dfl);
  Bool(object, "aborting", root.aborting);
  Bool(object, "switched_all", state_.switched_all);
  Number(object, "id", root.id);
  object.Close();
  if (!root.ops_name.known) Lacks("scx.root.ops_name", std::string(kNotThere));
  if (!root.exit_kind.has_value()) Lacks("scx.root.exit_kind", std::string(kNotThere));
}

void ScxJsonWriter::OnExit(const ScxExitInfo& exit) {
  AppendScxExit(exit, scx_.exits(), symbolize_, exit_);
  if (!exit.known) Lacks("scx.exit", "struct scx_exit_info: not in the evidence");
  if (exit.msg.cut) Lacks("scx.exit.msg", "its end was left out");
  if (exit.dump.cut) {
    Lacks("scx.exit.dump", absl::StrCat("only its first ", exit.dump.size, " bytes are copied"));
  }
  if (exit.backtrace_cut) Lacks("scx.exit.backtrace", "it is longer, or could not be read");
}

void ScxJsonWriter::OnSubScheduler(const ScxSchedulerInfo& sub) {
  JsonObject object(NextItem(subs_));
  object.Hex("address", sub.address);
  if (sub.ops_name.known) object.String("ops_name", sub.ops_name.view());
  Number(object, "id", sub.id);
  Signed(object, "level", sub.level);
  Text(object, "cgroup", sub.cgroup_path);
  Named(object, "exit_kind", scx_.schedulers().names().exit_kinds, sub.exit_kind);
  object.Close();
}

void ScxJsonWriter::OnSubSchedulersEnd(WalkEnd end) {
  LacksRest("scx.sub_schedulers", end, scx_.limits().sub_schedulers);
}

void ScxJsonWriter::OnCpu(const ScxCpuInfo&) {
  local_dsq_.clear();
  bypass_dsq_.clear();
}

void ScxJsonWriter::OnCpuEnd(const ScxCpuInfo& cpu) {
  JsonObject object(NextItem(cpus_));
  object.Int("cpu", cpu.cpu);
  Number(object, "nr_running", cpu.nr_running);
  Number(object, "scx_nr_running", cpu.scx_nr_running);
  Flags(object, "flags", scx_.runqueues().flag_names(), cpu.flags);
  Bool(object, "cpu_released", cpu.cpu_released);
  Bool(object, "bypassing", cpu.bypassing);
  if (cpu.curr.address != 0) {
    JsonObject curr(object.Key("curr"));
    curr.Hex("address", cpu.curr.address);
    AppendTaskName(cpu.curr, curr);
    curr.Close();
  }
  if (!local_dsq_.empty()) object.Raw("local_dsq", local_dsq_);
  if (!bypass_dsq_.empty()) object.Raw("bypass_dsq", bypass_dsq_);
  object.Close();
  const std::string what = absl::StrCat("scx.cpus[", cpu.cpu, "]");
  if (!cpu.known) {
    Lacks(what, std::string(kNotThere));
  } else if (!cpu.curr.pid.has_value() && cpu.nr_running.has_value()) {
    Lacks(what + ".curr", std::string(kNotThere));
  }
  if (cpu.bypassing.value_or(false)) absl::StrAppend(&NextItem(bypassing_cpus_), cpu.cpu);
}

void ScxJsonWriter::OnQueue(ScxQueueKind kind, int owner, const ScxQueueInfo& queue) {
  queue_ = {.kind = kind, .owner = owner, .info = queue, .tasks = ""};
}

void ScxJsonWriter::OnQueuedTask(const TaskInfo& task) {
  JsonObject object(NextItem(queue_.tasks));
  object.Hex("address", task.address);
  AppendTaskName(task, object);
  object.Close();
}

void ScxJsonWriter::AppendQueueId(uint64_t id, std::string& out) const {
  if (scx_.queues().IsBuiltin(id)) {
    AppendJsonString(out, scx_.queues().NameOfId(id));
  } else {
    AppendJsonUint(out, id);
  }
}

std::string ScxJsonWriter::QueueJson(const Queue& queue) const {
  std::string json;
  JsonObject object(json);
  if (queue.info.id.has_value()) AppendQueueId(*queue.info.id, object.Key("id"));
  if (queue.kind == ScxQueueKind::kGlobal) object.Int("node", queue.owner);
  object.Hex("address", queue.info.address);
  Number(object, "nr", queue.info.nr);
  object.Raw("tasks", Array(queue.tasks));
  object.Close();
  return json;
}

void ScxJsonWriter::OnQueueEnd(WalkEnd end) {
  Queue& queue = queue_;
  queue.lacks = queue.info.nr.has_value() ? WhyCut(end, scx_.limits().tasks_of_a_queue)
                                          : std::string(kNotThere);
  const auto of_cpu = [&](std::string_view name) {
    if (queue.lacks.empty()) return;
    Lacks(absl::StrCat("scx.cpus[", queue.owner, "].", name, ".tasks"), queue.lacks);
  };
  switch (queue.kind) {
    case ScxQueueKind::kLocal:
      local_dsq_ = QueueJson(queue);
      return of_cpu("local_dsq");
    case ScxQueueKind::kBypass:
      // Empty but while the scheduler is bypassed.
      if (queue.info.nr.value_or(0) != 0 || !queue.tasks.empty()) bypass_dsq_ = QueueJson(queue);
      return of_cpu("bypass_dsq");
    case ScxQueueKind::kGlobal:
      return global_queues_.push_back(std::move(queue));
    case ScxQueueKind::kUser:
      return user_queues_.push_back(std::move(queue));
  }
}

std::string ScxJsonWriter::QueuesJson() {
  std::string items;
  int index = 0;
  for (auto* queues : {&global_queues_, &user_queues_}) {
    // In the kernel's table they stand in no order.
    std::stable_sort(queues->begin(), queues->end(),
                     [](const Queue& a, const Queue& b) { return a.order() < b.order(); });
    for (const Queue& queue : *queues) {
      NextItem(items) += QueueJson(queue);
      if (!queue.lacks.empty()) Lacks(absl::StrCat("scx.dsqs[", index, "].tasks"), queue.lacks);
      ++index;
    }
  }
  return Array(items);
}

void ScxJsonWriter::OnQueuesEnd(ScxQueueKind kind, WalkEnd end) {
  if (kind == ScxQueueKind::kGlobal) {
    LacksRest("scx.dsqs", end, static_cast<int>(global_queues_.size()));
  } else {
    LacksRest("scx.dsqs", end, scx_.limits().queues);
  }
}

void ScxJsonWriter::OnTask(const ScxTaskInfo& task) {
  JsonObject object(NextItem(tasks_));
  object.Hex("address", task.task.address);
  AppendTaskName(task.task, object);
  if (task.task.state.has_value()) {
    object.String("state", std::string_view(&*task.task.state, 1));
  }
  if (const auto policy = SchedPolicyName(task.task.policy.value_or(~0u)); !policy.empty()) {
    object.String("policy", policy);
  }
  if (task.task.cpu.has_value()) object.Uint("cpu", *task.task.cpu);
  if (task.flags.has_value()) {
    object.String("scx_state", scx_.tasks().StateName(*task.flags));
    object.String("flags", scx_.tasks().FlagNames(*task.flags));
  }
  Number(object, "weight", task.weight);
  Number(object, "slice", task.slice);
  Number(object, "dsq_vtime", task.dsq_vtime);
  Number(object, "runnable_at", task.runnable_at);
  if (task.sticky_cpu.value_or(-1) >= 0) object.Int("sticky_cpu", *task.sticky_cpu);
  if (task.holding_cpu.value_or(-1) >= 0) object.Int("holding_cpu", *task.holding_cpu);
  if (task.dsq_id.has_value()) {
    AppendQueueId(*task.dsq_id, object.Key("dsq"));
  } else if (task.dsq == 0) {
    object.Null("dsq");
  }
  const uint64_t scheduler = task.scheduler.value_or(0);
  if (scheduler != 0 && scheduler != root_address_) object.Hex("scheduler", scheduler);
  object.Close();
}

void ScxJsonWriter::OnTasksEnd(WalkEnd end) {
  LacksRest("scx.tasks", end, scx_.limits().tasks);
  AddMissing("scx.root", scx_.schedulers().missing());
  AddMissing("scx.exit", scx_.exits().missing());
  AddMissing("scx.cpus[]", scx_.runqueues().missing());
  AddMissing("scx.dsqs[]", scx_.queues().missing());
  AddMissing("scx.tasks[]", scx_.tasks().missing());
}

std::string ScxJsonWriter::TakeJson() {
  std::string json;
  JsonObject object(json);
  if (state_.state.has_value()) {
    const std::string_view name = scx_.schedulers().names().enable_states.NameOf(*state_.state);
    if (name.empty()) {
      object.Uint("state", *state_.state);
    } else {
      object.String("state", StateWord(name));
    }
  }
  if (state_.loaded) {
    object.Raw("root", root_);
    object.Raw("exit", exit_);
    if (!subs_.empty()) object.Raw("sub_schedulers", Array(subs_));
    JsonObject bypass(object.Key("bypass"));
    Signed(bypass, "depth", bypass_depth_);
    bypass.Raw("cpus", Array(bypassing_cpus_));
    bypass.Close();
    object.Raw("cpus", Array(cpus_));
    object.Raw("dsqs", QueuesJson());
    object.Raw("tasks", Array(tasks_));
  }
  object.Close();
  return json;
}

}  // namespace watchsnap
