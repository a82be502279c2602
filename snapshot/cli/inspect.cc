#include "snapshot/cli/inspect.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "snapshot/accessor/path.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/cli/capture_diff.h"
#include "snapshot/cli/capture_table.h"
#include "snapshot/cli/exit_codes.h"
#include "snapshot/cli/value_tree.h"
#include "snapshot/report/json_text.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_parse.h"
#include "snapshot/report/sidecar_file.h"
#include "snapshot/report/watch_counters.h"

namespace watchsnap {
namespace {

CommandOutput Fail(int exit_code, std::string_view message) {
  return {exit_code, "", absl::StrCat(message, "\n")};
}

CommandOutput Fail(int exit_code, const absl::Status& status) {
  return Fail(exit_code, status.message());
}

// "captures[0] to captures[11]"
std::string Captures(SidecarFile& file) {
  if (file.size() == 0) return "no capture";
  return absl::StrCat("captures[0]",
                      file.size() > 1 ? absl::StrCat(" to captures[", file.size() - 1, "]") : "");
}

std::string PathText(const Path& path, size_t from) {
  std::string text;
  for (size_t i = from; i < path.size(); ++i) {
    text = std::holds_alternative<uint64_t>(path[i])
               ? ElementPath(text, std::get<uint64_t>(path[i]))
               : MemberPath(text, std::get<std::string>(path[i]));
  }
  return text;
}

// "maps 4, variables 2, degraded 1": what a capture holds beyond the table's columns.
std::string Parts(JsonNode capture) {
  std::string text;
  for (const std::string_view name : {"maps", "variables", "objects", "degraded"}) {
    const auto part = capture.Member(name);
    if (!part.has_value() || part->size() == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", name, " ", part->size());
  }
  for (const std::string_view name : {"scx", "console_tail"}) {
    if (capture.Member(name).has_value()) absl::StrAppend(&text, text.empty() ? "" : ", ", name);
  }
  return text;
}

// The table's line of one capture; its document is read again as the table's own type.
std::string Row(SidecarFile& file, size_t i, JsonNode capture) {
  absl::StatusOr<Report> report = ParseReport(capture.ToJson());
  if (!report.ok()) {
    return absl::StrFormat("%5d  %-9s  %s: %s\n", i, "?", file.name(), report.status().message());
  }
  std::string line = CaptureTableLine(*report);
  if (!line.empty()) line.pop_back();
  while (!line.empty() && line.back() == ' ') line.pop_back();
  const std::string parts = Parts(capture);
  return absl::StrFormat("%5d  %-9s%s%s\n", i, TriggerKindName(report->trigger.kind), line,
                         parts.empty() ? "" : absl::StrCat("  [", parts, "]"));
}

void CopyMember(JsonObject& to, std::string_view name, std::optional<JsonNode> value) {
  if (value.has_value()) to.Raw(name, value->ToJson());
}

std::string RowJson(size_t i, JsonNode capture) {
  std::string json;
  JsonObject object(json);
  object.Uint("index", i);
  for (const std::string_view name : {"tag", "seq"}) CopyMember(object, name, capture.Member(name));
  if (const auto trigger = capture.Member("trigger"); trigger.has_value()) {
    for (const std::string_view name : {"kind", "vcpu", "old", "new", "guest_time_ns"}) {
      CopyMember(object, name, trigger->Member(name));
    }
    if (const auto writer = trigger->Member("writer"); writer.has_value()) {
      CopyMember(object, "writer", writer->Member("symbol"));
    }
  }
  if (const auto cost = capture.Member("cost"); cost.has_value()) {
    CopyMember(object, "pause_ns", cost->Member("pause_ns"));
  }
  const auto degraded = capture.Member("degraded");
  object.Uint("degraded", degraded.has_value() ? degraded->size() : 0);
  object.Close();
  return json;
}

CommandOutput List(SidecarFile& file, bool json) {
  CommandOutput result;
  std::string rows;
  absl::Status read = file.ForEach([&](size_t i, SidecarFile::DocumentOr document) {
    if (!document.ok()) {
      absl::StrAppend(&result.err, document.status().message(), "\n");
      result.exit_code = kExitUsage;
      if (!json) absl::StrAppendFormat(&rows, "%5d  damaged\n", i);
      return true;
    }
    if (json) {
      absl::StrAppend(&rows, rows.empty() ? "" : ",", RowJson(i, (*document)->root()));
    } else {
      rows += Row(file, i, (*document)->root());
    }
    return true;
  });
  if (!read.ok()) return Fail(kExitUsage, read);
  if (json) {
    JsonObject object(result.out);
    object.String("file", file.name()).Raw("captures", absl::StrCat("[", rows, "]"));
    if (file.summary().has_value()) {
      std::string summary;
      AppendSummaryJson(*file.summary(), summary);
      absl::StatusOr<std::shared_ptr<const JsonDocument>> document = JsonParser().Parse(summary);
      if (document.ok()) CopyMember(object, "summary", (*document)->root().Member("summary"));
    } else {
      object.Null("summary");
    }
    if (file.torn_line().has_value()) object.Uint("torn_line", file.torn_line()->line_number);
    object.Close();
    result.out += '\n';
    return result;
  }
  absl::StrAppendFormat(&result.out, "%5s  %-9s%s", "#", "KIND", CaptureTableHeader());
  result.out += rows;
  if (file.summary().has_value()) {
    absl::StrAppend(&result.out, CountersText(*file.summary()), "\n");
  } else if (!file.is_single_document() && absl::EndsWith(file.name(), ".jsonl")) {
    result.out += "There is no summary: the run did not come to its end.\n";
  }
  if (file.torn_line().has_value()) {
    absl::StrAppend(&result.out, "Line ", file.torn_line()->line_number,
                    " is torn: its writer was stopped within it.\n");
  }
  return result;
}

CommandOutput Show(JsonNode node, bool json) {
  if (json) return {kExitOk, absl::StrCat(node.ToJson(), "\n"), ""};
  if (!node.is_object() && !node.is_array()) {
    return {kExitOk, absl::StrCat(BareValue(node), "\n"), ""};
  }
  return {kExitOk, ValueTree(node), ""};
}

CommandOutput ShowIn(SidecarFile& file, uint64_t capture, const std::string& path, bool json) {
  if (capture >= file.size()) {
    return Fail(kExitFailed, absl::StrCat(file.name(), " has no captures[", capture, "]; it holds ",
                                          Captures(file)));
  }
  SidecarFile::DocumentOr document = file.Document(capture);
  if (!document.ok()) return Fail(kExitUsage, document.status());
  const Snapshot snapshot(*std::move(document));
  const SnapshotValue value = snapshot.Get(path);
  if (!value.ok()) return Fail(kExitFailed, value.status());
  return Show(value.node(), json);
}

CommandOutput ShowSummary(SidecarFile& file, const std::string& path, bool json) {
  if (!file.summary().has_value()) {
    return Fail(kExitFailed, absl::StrCat(file.name(), " has no summary; it holds ", Captures(file)));
  }
  std::string text;
  AppendSummaryJson(*file.summary(), text);
  const Snapshot snapshot = Snapshot::FromJson(text);
  const SnapshotValue value = snapshot.Get(path);
  if (!value.ok()) return Fail(kExitFailed, value.status());
  return Show(value.node(), json);
}

// "3" or "captures[3]".
std::optional<uint64_t> CaptureNumber(std::string_view text) {
  uint64_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  absl::StatusOr<Path> path = ParsePath(text);
  if (!path.ok() || path->size() != 2 || (*path)[0] != PathStep(std::string("captures"))) {
    return std::nullopt;
  }
  const uint64_t* index = std::get_if<uint64_t>(&(*path)[1]);
  return index != nullptr ? std::optional(*index) : std::nullopt;
}

std::string Heading(uint64_t number, JsonNode capture) {
  const auto tag = capture.Member("tag");
  const auto seq = capture.Member("seq");
  return absl::StrCat("captures[", number, "] (", tag.has_value() ? BareValue(*tag) : "?", "#",
                      seq.has_value() ? BareValue(*seq) : "?", ")");
}

}  // namespace

CommandOutput Inspect(const std::string& file_name, std::string_view path_text, bool json) {
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(file_name);
  if (!file.ok()) return Fail(kExitUsage, file.status());
  absl::StatusOr<Path> path = ParsePath(path_text);
  if (!path.ok()) return Fail(kExitFailed, path.status());
  if (path->empty()) return List(*file, json);
  const std::string* first = std::get_if<std::string>(&path->front());
  if (first != nullptr && *first == "captures") {
    if (path->size() == 1) return List(*file, json);
    const uint64_t* capture = std::get_if<uint64_t>(&(*path)[1]);
    if (capture == nullptr) {
      return Fail(kExitFailed, absl::StrCat("captures goes by number: ", Captures(*file)));
    }
    return ShowIn(*file, *capture, PathText(*path, 2), json);
  }
  if (first != nullptr && *first == "summary") {
    return ShowSummary(*file, PathText(*path, 0), json);
  }
  const bool is_sidecar = !file->is_single_document() && absl::EndsWith(file_name, ".jsonl");
  if (!is_sidecar && file->size() == 1) return ShowIn(*file, 0, PathText(*path, 0), json);
  return Fail(kExitFailed,
              absl::StrCat("'", path_text, "' does not begin with what is in ", file_name, ": ",
                           Captures(*file), file->summary().has_value() ? ", summary" : ""));
}

CommandOutput Diff(const std::string& file_name, std::string_view a, std::string_view b,
                   bool json) {
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(file_name);
  if (!file.ok()) return Fail(kExitUsage, file.status());
  std::vector<std::shared_ptr<const JsonDocument>> documents;
  std::vector<uint64_t> numbers;
  for (const std::string_view text : {a, b}) {
    const std::optional<uint64_t> number = CaptureNumber(text);
    if (!number.has_value() || *number >= file->size()) {
      return Fail(number.has_value() ? kExitFailed : kExitUsage,
                  absl::StrCat("'", text, "' is no capture of ", file_name, ", which holds ",
                               Captures(*file)));
    }
    SidecarFile::DocumentOr document = file->Document(*number);
    if (!document.ok()) return Fail(kExitUsage, document.status());
    documents.push_back(*std::move(document));
    numbers.push_back(*number);
  }
  const JsonNode was = documents[0]->root();
  const JsonNode is = documents[1]->root();
  const std::vector<Difference> differences = DiffCaptures(was, is);
  if (json) return {kExitOk, absl::StrCat(DiffJson(differences), "\n"), ""};
  return {kExitOk,
          absl::StrCat(Heading(numbers[0], was), " → ", Heading(numbers[1], is), "\n",
                       DiffText(differences), differences.size(),
                       differences.size() == 1 ? " difference\n" : " differences\n"),
          ""};
}

}  // namespace watchsnap
