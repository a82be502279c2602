// Snapshot: a capture to read from, by name. The same code reads a live report (from the bridge) and
// one that comes from a sidecar or a failure dump.
//
//   Snapshot snapshot = entry.snapshot();                      // of a CaptureEntry
//   Snapshot snapshot(file->Document(3));                      // of a SidecarFile
//
//   snapshot.KernelVar("jiffies_64").AsU64()
//   snapshot.Var("nr_enqueued").AsU64()                        // a BPF program's global, whichever its map
//   snapshot.Map("counters").Find(7).Get("hits").AsU64()
//   snapshot.Get("vcpus[1].task.comm").AsStr()
//   snapshot.Get("trigger.writer.symbol").AsStr()
//
// Every read is an absl::StatusOr; a chain carries its first error to the end. snapshot_value.h says
// which errors there are; paths are in path.h, what stands where is snapshot/report/schema.md.
//
// Ownership: a handle; it and what it gives keep the capture alive. A live report is rendered once,
// when it is first read.
// Threads: any.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/accessor/snapshot_map.h"
#include "snapshot/accessor/snapshot_value.h"
#include "snapshot/report/json_document.h"
#include "snapshot/report/report.h"

namespace watchsnap {

class Snapshot {
 public:
  explicit Snapshot(Report report);
  // An error instead of a document becomes that of every read.
  explicit Snapshot(absl::StatusOr<std::shared_ptr<const JsonDocument>> document);
  // One capture as JSON text.
  static Snapshot FromJson(std::string_view text);

  // A BPF map by name; a second map of the same name is "name#id".
  SnapshotMap Map(std::string_view name) const;
  // A global variable of a BPF program, in whichever map's section it is; where several have it,
  // "map.variable" chooses.
  SnapshotValue Var(std::string_view name) const;
  // A kernel variable that was taken along.
  SnapshotValue KernelVar(std::string_view name) const;
  // Anything, by its path in the report; "" is the whole.
  SnapshotValue Get(std::string_view path) const;

  // OK if there is a report to read.
  absl::Status status() const;
  std::vector<std::string> MapNames() const;
  std::vector<std::string> KernelVarNames() const;

 private:
  std::shared_ptr<const SnapshotSource> source_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_H_
