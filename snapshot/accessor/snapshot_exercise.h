// Does with any bytes all that reading a sidecar can do: opens them as a file of captures, reads
// each one as a Report and through the accessor, by a path of any bytes, and checks its shape. For
// the mutation test and the fuzzer; a sanitizer watches. Testonly.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_EXERCISE_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_EXERCISE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/log/check.h"
#include "snapshot/accessor/path.h"
#include "snapshot/accessor/snapshot.h"
#include "snapshot/report/report.h"
#include "snapshot/report/report_json.h"
#include "snapshot/report/report_parse.h"
#include "snapshot/report/schema_check.h"
#include "snapshot/report/sidecar_file.h"

namespace watchsnap {

inline void ExerciseValue(const SnapshotValue& value) {
  (void)value.AsU64();
  (void)value.AsI64();
  (void)value.AsBool();
  (void)value.AsF64();
  (void)value.AsStr();
  (void)value.Items();
  (void)value.MemberNames();
  (void)value.Cpu(1).AsU64();
  // An error says something.
  if (!value.ok()) CHECK(!value.status().message().empty());
}

inline void ExerciseSnapshot(const Snapshot& snapshot, std::string_view path) {
  ExerciseValue(snapshot.Get(path));
  ExerciseValue(snapshot.Get(path).Get(path));
  ExerciseValue(snapshot.Var(path));
  ExerciseValue(snapshot.Get("trigger.writer.symbol"));
  for (const std::string& name : snapshot.KernelVarNames()) {
    ExerciseValue(snapshot.KernelVar(name));
    ExerciseValue(snapshot.KernelVar(name).Cpu(0).Get(path));
  }
  for (const std::string& name : snapshot.MapNames()) {
    const SnapshotMap map = snapshot.Map(name);
    ExerciseValue(map.Get(path));
    ExerciseValue(map.At(0).Value());
    ExerciseValue(map.Find(7).Key());
    ExerciseValue(map.MaxBy(path).Value());
    ExerciseValue(map.Captured().MaxBy("").Key());
    (void)map.Cpu(0).Filter([&](const SnapshotEntry& e) { return e.Get(path).Is(1); }).Count();
  }
}

// How many captures were read.
inline size_t ExerciseSidecar(std::string text, std::string_view path) {
  if (absl::StatusOr<Path> steps = ParsePath(path); steps.ok()) {
    std::string again;
    for (const PathStep& step : *steps) {
      again = std::holds_alternative<uint64_t>(step)
                  ? ElementPath(again, std::get<uint64_t>(step))
                  : MemberPath(again, std::get<std::string>(step));
    }
    CHECK(*ParsePath(again) == *steps);
  }
  absl::StatusOr<SidecarFile> file = SidecarFile::FromText(std::move(text), "fuzz");
  if (!file.ok()) return 0;
  size_t read = 0;
  size_t visited = 0;
  CHECK_OK(file->ForEach([&](size_t i, SidecarFile::DocumentOr document) {
    CHECK_EQ(i, visited++);
    // One pass and by number are the same.
    CHECK_EQ(document.ok(), file->Document(i).ok());
    const bool whole = document.ok();
    if (whole) {
      ++read;
      (void)CheckSchema((*document)->root());
    }
    ExerciseSnapshot(Snapshot(std::move(document)), path);
    if (absl::StatusOr<Report> report = file->ReadReport(i); report.ok()) {
      std::string json;
      AppendReportJson(*report, json);
      // What simdjson's lazy parser passed over may be damaged.
      if (whole) CHECK_OK(ParseReport(json).status());
      ExerciseSnapshot(Snapshot(*std::move(report)), path);
    }
    return true;
  }));
  CHECK_EQ(visited, file->size());
  return read;
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_EXERCISE_H_
