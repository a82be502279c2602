// FailureDumps: what a run keeps of schedulers that failed, one document a scheduler:
// {sidecar_dir}/{test_name}.failure-dump.json, then ….failure-dump.2.json, …
//
//   dumps.OnExitKind(report, is_error, is_done);   // renderer's thread, in order
//   dumps.Finish("the run ended");                 // after the renderer stopped
//
// The report of the first error-class write is the dump; the kernel fills in why it failed afterwards,
// so the dump waits for the report of the SCX_EXIT_DONE write and takes its `scx.exit` from there. One
// that never comes leaves a dump without it, and `degraded` says so.
// A dump is written to a temporary name, synced and renamed: it is there whole or not at all.
//
// Threads: one at a time. Errors: a dump that cannot be written is told by its status; it is not
// tried again.
#ifndef WATCHSNAP_SNAPSHOT_SCX_FAILURE_DUMP_H_
#define WATCHSNAP_SNAPSHOT_SCX_FAILURE_DUMP_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "snapshot/report/report.h"

namespace watchsnap {

class FailureDumps {
 public:
  // `keep` gets each finished dump (for the bridge). `sidecar_dir` empty: no files; else dumps that an
  // earlier run of the same name left there are removed.
  FailureDumps(std::string sidecar_dir, std::string test_name,
               std::function<void(const Report&)> keep);

  absl::Status OnExitKind(Report report, bool is_error, bool is_done);
  absl::Status Finish(std::string_view why);

  const std::vector<std::string>& paths() const { return paths_; }

 private:
  absl::Status Write();

  const std::string sidecar_dir_;
  const std::string test_name_;
  const std::function<void(const Report&)> keep_;
  std::optional<Report> pending_;
  uint64_t count_ = 0;
  std::vector<std::string> paths_;
};

// `scx` with its member `exit` taken from `completed`, both JSON objects; `scx` itself where either is
// not one, or `completed` has no `exit`.
std::string WithExitOf(const std::string& scx, const std::string& completed);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_SCX_FAILURE_DUMP_H_
