#include "snapshot/scx/failure_dump.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "simdjson.h"
#include "snapshot/report/json_text.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/sidecar_path.h"
#include "snapshot/scx/whole_file.h"

namespace watchsnap {

std::string WithExitOf(const std::string& scx, const std::string& completed) {
  simdjson::dom::parser scx_parser;
  simdjson::dom::parser completed_parser;
  simdjson::dom::object members;
  simdjson::dom::element exit;
  if (scx_parser.parse(scx).get(members) != simdjson::SUCCESS) return scx;
  if (completed_parser.parse(completed)["exit"].get(exit) != simdjson::SUCCESS) return scx;
  std::string out;
  JsonObject object(out);
  bool replaced = false;
  for (const simdjson::dom::key_value_pair member : members) {
    const bool is_exit = member.key == "exit";
    replaced |= is_exit;
    object.Raw(member.key, simdjson::minify(is_exit ? exit : member.value));
  }
  if (!replaced) object.Raw("exit", simdjson::minify(exit));
  object.Close();
  return out;
}

FailureDumps::FailureDumps(std::string sidecar_dir, std::string test_name,
                           std::function<void(const Report&)> keep)
    : sidecar_dir_(std::move(sidecar_dir)),
      test_name_(std::move(test_name)),
      keep_(std::move(keep)) {
  if (sidecar_dir_.empty()) return;
  for (uint64_t n = 1; unlink(FailureDumpPath(sidecar_dir_, test_name_, n).c_str()) == 0; ++n) {
  }
}

absl::Status FailureDumps::OnExitKind(Report report, bool is_error, bool is_done) {
  if (is_error) {
    absl::Status status;
    if (pending_.has_value()) status = Finish("another scheduler failed before this one was done");
    pending_ = std::move(report);
    return status;
  }
  if (!is_done || !pending_.has_value()) return absl::OkStatus();
  const std::string* completed = FindMember(report.more, "scx");
  const std::string* scx = FindMember(pending_->more, "scx");
  if (completed != nullptr) {
    SetMember(pending_->more, "scx", scx == nullptr ? *completed : WithExitOf(*scx, *completed));
  } else {
    pending_->degraded.push_back({"scx.exit", "the sched_ext state could not be read at its end"});
  }
  return Write();
}

absl::Status FailureDumps::Finish(std::string_view why) {
  if (!pending_.has_value()) return absl::OkStatus();
  pending_->degraded.push_back(
      {"scx.exit",
       absl::StrCat("the kernel had not stored SCX_EXIT_DONE when ", why,
                    ": kind, reason, message and backtrace may be incomplete")});
  return Write();
}

absl::Status FailureDumps::Write() {
  Report report = *std::move(pending_);
  pending_.reset();
  report.seq = count_++;
  if (keep_) keep_(report);
  if (sidecar_dir_.empty()) return absl::OkStatus();
  std::string text;
  AppendReportJson(report, text);
  text += '\n';
  std::error_code ignored;  // the open that follows tells
  std::filesystem::create_directories(sidecar_dir_, ignored);
  const std::string path = FailureDumpPath(sidecar_dir_, test_name_, count_);
  absl::Status status = WriteWholeFile(path, text);
  if (status.ok()) paths_.push_back(path);
  return status;
}

}  // namespace watchsnap
