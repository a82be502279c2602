// What is said over the control channel: one struct a message, encoded to a frame and decoded from
// one.
//
//   guest                                         host
//     Hello{scenario, clocks}          ──────▶
//                                      ◀──────    HelloReply{hold, parameters}
//     Ready{}                          ──────▶
//                                      ◀──────    Go{}
//     SnapshotRequest{watch, symbol}   ──────▶
//                                      ◀──────    SnapshotReply{ok | reason}
//     Log{text}                        ──────▶
//     ScenarioResult{passed, …}        ──────▶
//                                      ◀──────    SnapshotReply{ok}
//     Bye{}                            ──────▶
//
// An answer carries the sequence of its request. Anything the host cannot accept is answered by a
// SnapshotReply with ok = false. Strings are bytes: they are carried whole and unchanged, or the
// message is refused.
//
// Threads: free functions without state. Memory of a decoded message is bounded by the frame limit.
// Errors: Encode fails as EncodeFrame does; DecodeMessage with INVALID_ARGUMENT, or UNIMPLEMENTED
// for a type that this side does not know, and says which field is wrong.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_MESSAGES_H_
#define WATCHSNAP_SNAPSHOT_WIRE_MESSAGES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "snapshot/watch_options.h"
#include "snapshot/wire/frame_decoder.h"
#include "snapshot/wire/wire_format.h"

namespace watchsnap {

struct Hello {
  uint32_t protocol_version = kWireVersion;
  std::string scenario;
  uint64_t guest_tsc = 0;           // aarch64: CNTVCT_EL0
  uint64_t guest_monotonic_ns = 0;  // CLOCK_MONOTONIC, read next to guest_tsc
};

struct HelloReply {
  uint64_t hold_ms = 0;  // what HoldSpec::Full() means
  std::map<std::string, std::string> parameters;
};

// A periodic capture is one of a series that a step asked for; otherwise it is like a capture.
enum class SnapshotRequestKind : uint8_t { kCapture = 1, kWatch = 2, kPeriodicCapture = 3 };

// Absent members leave the host's defaults (CONTRACT.md: 1,000 captures, 10 % of wall time).
struct WatchRequestOptions {
  std::optional<uint64_t> max_captures;
  std::optional<uint32_t> max_frozen_permille;
  std::vector<std::string> variables = {};  // of the kernel, that captures take along
  std::optional<WatchCondition> when = {};
  std::optional<uint64_t> every_nth = {};  // from 1
  std::optional<uint64_t> min_interval_us = {};
  std::optional<OnBudget> on_budget = {};
  std::optional<QueueFull> queue_full = {};

  // All of `options`.
  static WatchRequestOptions Of(const WatchOptions& options);
  // Writes what is said here over `options`.
  void ApplyTo(WatchOptions& options) const;
};

struct SnapshotRequest {
  SnapshotRequestKind kind = SnapshotRequestKind::kCapture;
  std::string subject;  // the tag of a capture, the symbol of a watch
  WatchRequestOptions options;  // of a capture only `variables`
};

struct SnapshotReply {
  bool ok = false;
  std::string reason;  // why not, in words; empty when ok
  absl::StatusCode code = absl::StatusCode::kOk;

  static SnapshotReply FromStatus(const absl::Status& status);
  absl::Status ToStatus() const;
};

// What one worker of a scenario's cgroup did while it lived (testing/scenario/step.h). Times are in
// the guest's CLOCK_MONOTONIC.
struct WorkerReport {
  std::string cgroup;
  std::string work;  // "spin", "pipe"
  uint32_t index = 0;
  uint64_t iterations = 0;
  // How often it woke up from a sleep or a wait, and how late.
  uint64_t wakeups = 0;
  uint64_t latency_sum_ns = 0;
  uint64_t latency_max_ns = 0;
  uint64_t migrations = 0;      // times it found itself on another CPU
  uint64_t longest_gap_ns = 0;  // the longest it wanted to run and did not
};

struct ScenarioResult {
  bool passed = false;
  std::vector<std::string> details;
  std::string exit_reason;
  std::vector<WorkerReport> workers = {};
};

struct Log {
  std::string text;
};

struct Bye {};
struct Ready {};
struct Go {};

using Message = std::variant<Hello, HelloReply, SnapshotRequest, SnapshotReply, ScenarioResult, Log,
                             Bye, Ready, Go>;

absl::StatusOr<std::string> EncodeMessage(uint32_t sequence, const Message& message);

absl::StatusOr<Message> DecodeMessage(const Frame& frame);

// "SNAPSHOT_REQUEST", or "type 77".
std::string MessageTypeName(uint8_t type);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_MESSAGES_H_
