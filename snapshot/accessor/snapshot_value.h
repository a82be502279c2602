// SnapshotValue: a value somewhere in a capture: a variable, a map's value, a member of either.
//
//   snapshot.Map("mini.bss").Get("stats.nr_enqueued").AsU64()      // absl::StatusOr<uint64_t>
//   snapshot.KernelVar("runqueues").Cpu(1).Get("curr.comm").AsStr()
//
// Get follows pointers: where a component is asked of a pointer ("0x…"), the pointee's is taken if the
// pointee was captured. A chain may be written without looking: the first thing that is not there
// becomes the error of all that follows, and is what the terminal read (As…) returns.
//
// Errors, each with what was asked, what stood there and what would have worked
//   NOT_FOUND            no such member; a null value or pointer
//   OUT_OF_RANGE         past an array's end; a number that the type asked for cannot hold
//   INVALID_ARGUMENT     a malformed path; a value of another type
//   FAILED_PRECONDITION  per-CPU, and no CPU was chosen
//   DATA_LOSS            not (wholly) captured: the message has the reason from the report's
//                        `degraded`. IsDegraded() knows it.
//
// Ownership: a value keeps its capture alive. Cheap to copy. Threads: immutable; any thread.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_VALUE_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_VALUE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/report/json_document.h"

namespace watchsnap {

class SnapshotSource;
struct Place;

// True of the errors that say: the guest may have had it, the capture has not.
inline bool IsDegraded(const absl::Status& status) {
  return status.code() == absl::StatusCode::kDataLoss;
}

class SnapshotValue {
 public:
  // A part: "a.b[2].c"; "" is the value itself.
  SnapshotValue Get(std::string_view path) const;
  // That of one CPU, of a per-CPU value.
  SnapshotValue Cpu(uint64_t cpu) const;
  // The same, content with what was captured of a text or a list that was cut.
  SnapshotValue Captured() const;

  // Integers; pointers ("0x…"); true and false as 1 and 0.
  absl::StatusOr<uint64_t> AsU64() const;
  absl::StatusOr<int64_t> AsI64() const;
  // true and false; 0 and 1.
  absl::StatusOr<bool> AsBool() const;
  // Any number.
  absl::StatusOr<double> AsF64() const;
  // Texts, the names of enumerators, pointers.
  absl::StatusOr<std::string> AsStr() const;

  // Comparing, for predicates: `entry.Get("pid").Is(42)`.
  template <std::integral T>
  absl::StatusOr<bool> Is(T expected) const {
    return std::signed_integral<T> ? IsInt(static_cast<int64_t>(expected))
                                   : IsUint(static_cast<uint64_t>(expected));
  }
  absl::StatusOr<bool> Is(std::string_view expected) const;
  absl::StatusOr<bool> Is(const char* expected) const { return Is(std::string_view(expected)); }
  absl::StatusOr<bool> Is(bool expected) const;

  // The elements of an array, whole or DATA_LOSS.
  absl::StatusOr<std::vector<SnapshotValue>> Items() const;
  absl::StatusOr<std::vector<std::string>> MemberNames() const;
  // As JSON.
  absl::StatusOr<std::string> ToJson() const;

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }
  // How it was reached; empty for the whole capture.
  const std::string& path() const { return asked_; }
  // Only if ok(). Valid as long as this value or another of the same capture.
  JsonNode node() const { return *node_; }

 private:
  friend class Snapshot;
  friend class SnapshotEntry;
  friend class SnapshotMap;

  // What a per-CPU value is a list of.
  enum class PerCpu { kNo, kValues, kObjectsWithValue };

  explicit SnapshotValue(absl::Status error);
  SnapshotValue(std::shared_ptr<const SnapshotSource> source, Place place,
                PerCpu per_cpu = PerCpu::kNo);

  absl::StatusOr<bool> IsInt(int64_t expected) const;
  absl::StatusOr<bool> IsUint(uint64_t expected) const;
  // That there is one value, which is not null.
  absl::Status Readable() const;
  absl::Status Narrowed() const;
  absl::Status WrongType(std::string_view wanted) const;
  absl::Status Error(absl::StatusCode code, std::string_view text) const;

  absl::Status status_;
  std::shared_ptr<const SnapshotSource> source_;
  std::optional<JsonNode> node_;
  std::string asked_;
  std::string home_;
  PerCpu per_cpu_ = PerCpu::kNo;
  bool captured_ = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_SNAPSHOT_VALUE_H_
