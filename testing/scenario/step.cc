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

}  // namespace

std::string Op::Description() const {
  return std::visit([](const auto& op) { return Describe(op); }, kind_);
}

}  // namespace watchsnap
