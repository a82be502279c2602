#include "testing/scenario/step.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace watchsnap {
namespace {

std::string Describe(const Op::WatchSnapshotOp& op) {
  return absl::StrCat("Op::WatchSnapshot(\"", op.symbol, "\")");
}
std::string Describe(const Op::SnapshotOp& op) {
  return absl::StrCat("Op::Snapshot(\"", op.tag, "\")");
}
std::string Describe(const Op::RunCommandOp& op) {
  return absl::StrCat("Op::Run({\"", absl::StrJoin(op.argv, "\", \""), "\"})");
}
std::string Describe(const Op::RunFunctionOp& op) {
  return absl::StrCat("Op::Run(\"", op.name, "\")");
}
std::string Describe(const Op::SleepOp& op) {
  return absl::StrCat("Op::Sleep(", absl::FormatDuration(op.duration), ")");
}
std::string Describe(const Op::StartSchedulerOp& op) {
  return absl::StrCat("Op::StartScheduler(\"", op.name, "\")");
}
std::string Describe(const Op::StopSchedulerOp&) { return "Op::StopScheduler()"; }
std::string Describe(const Op::MoveTasksOp& op) {
  return absl::StrCat("Op::MoveTasks(\"", op.from, "\", \"", op.to, "\")");
}
std::string Describe(const Op::SetAffinityOp& op) {
  return absl::StrCat("Op::SetAffinity(\"", op.cgroup, "\", \"", op.cpus, "\")");
}
std::string Describe(const Op::SetWeightOp& op) {
  return absl::StrCat("Op::SetWeight(\"", op.cgroup, "\", ", op.weight, ")");
}

}  // namespace

std::string_view WorkTypeName(WorkType work) {
  switch (work) {
    case WorkType::kSpin:
      return "spin";
    case WorkType::kYield:
      return "yield";
    case WorkType::kSleep:
      return "sleep";
    case WorkType::kMixed:
      return "mixed";
    case WorkType::kForkExit:
      return "fork_exit";
    case WorkType::kPipe:
      return "pipe";
    case WorkType::kFutex:
      return "futex";
  }
  return "?";
}

std::string Op::Description() const {
  return std::visit([](const auto& op) { return Describe(op); }, kind_);
}

}  // namespace watchsnap
