// A Report: one capture, rendered. What a test author reads, what a line of a sidecar says.
//
// It is plain data: the freeze coordinator's renderer fills it, the bridge stores it, report_json
// writes it, report_parse reads it back. The members and their JSON names are CONTRACT.md's sidecar
// line, schema watchsnap.capture/1; schema.md beside this file shows one.
//
// Parts that the model does not know (maps, variables, scx, tasks, stacks, and what a newer writer
// adds) are carried as JsonMembers: the name and the JSON text of its value. They survive a round
// trip unchanged, and are read by whoever understands them, live and from a sidecar alike.
//
// Threads: a value; const access from any thread. Units: nanoseconds, bytes. Addresses are KVAs.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_REPORT_H_
#define WATCHSNAP_SNAPSHOT_REPORT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace watchsnap {

inline constexpr std::string_view kCaptureSchema = "watchsnap.capture/1";
inline constexpr std::string_view kSummarySchema = "watchsnap.summary/1";

// What made the capture happen.
enum class TriggerKind { kWatch, kSnapshot, kExitKind, kPeriodic, kFinal };

std::string_view TriggerKindName(TriggerKind kind);  // "watch", "snapshot", "exit_kind", …
absl::StatusOr<TriggerKind> ParseTriggerKind(std::string_view name);

// A member of a JSON object whose value this model does not interpret. `json` is one JSON value
// without line ends.
struct JsonMember {
  std::string name;
  std::string json;
  bool operator==(const JsonMember&) const = default;
};
using JsonMembers = std::vector<JsonMember>;

// Nullptr if there is none of that name.
const std::string* FindMember(const JsonMembers& members, std::string_view name);
void SetMember(JsonMembers& members, std::string_view name, std::string json);

// A place in the kernel's code.
struct CodeLocation {
  // The instruction itself; absent where only the next one could be found.
  std::optional<uint64_t> address;
  std::optional<uint64_t> next_address;
  std::string symbol;   // empty: none known
  uint64_t offset = 0;  // from the symbol, of whichever address is present
  std::string file;     // empty: none known
  std::optional<uint32_t> line;
  JsonMembers more;  // inlined frames
  bool operator==(const CodeLocation&) const = default;
};

struct Trigger {
  TriggerKind kind = TriggerKind::kSnapshot;
  std::string symbol;               // of a watch; empty: the key is absent
  std::optional<uint64_t> address;  // of the watched bytes
  std::optional<int> slot;
  std::optional<int> vcpu;  // that hit, or that asked
  std::optional<uint32_t> watched_bytes;
  std::optional<uint32_t> symbol_bytes;
  std::optional<uint64_t> old_value;
  std::optional<uint64_t> new_value;
  std::optional<uint64_t> guest_time_ns;  // CLOCK_MONOTONIC of the guest
  // CLOCK_MONOTONIC of the host when the vCPU came out of the guest, or the capture was asked for.
  std::optional<uint64_t> host_time_ns = std::nullopt;
  // Captures taken under one freeze have the same number, counted from 0 in a run.
  std::optional<uint64_t> freeze;
  std::optional<CodeLocation> writer;
  JsonMembers more;  // stack
  bool operator==(const Trigger&) const = default;
};

struct Register {
  std::string name;
  uint64_t value = 0;
  bool operator==(const Register&) const = default;
};

struct VcpuReport {
  int index = 0;
  std::vector<Register> registers;  // in the architecture's usual order
  std::string symbol;  // the function the vCPU was in; empty: none known (user space, unmapped)
  std::optional<uint64_t> offset;  // from the symbol
  JsonMembers more;                // task, stack
  bool operator==(const VcpuReport&) const = default;

  // Nullopt if there is none of that name.
  std::optional<uint64_t> RegisterValue(std::string_view name) const;
};

// What this very capture cost, in host time.
struct CaptureCost {
  uint64_t freeze_ns = 0;             // from the hit until all vCPUs were parked
  uint64_t evidence_ns = 0;           // copying the evidence
  uint64_t thaw_ns = 0;               // until the last vCPU was told to go on
  uint64_t pause_ns = 0;              // what the guest was stopped
  std::optional<uint64_t> hidden_ns;  // how much of the pause the guest's clocks do not show
  std::optional<uint64_t> evidence_bytes;  // what the evidence parts copied
  bool operator==(const CaptureCost&) const = default;
};

// Something that the capture lacks, and why.
struct Degraded {
  std::string what;
  std::string why;
  bool operator==(const Degraded&) const = default;
};

struct Report {
  std::string tag;   // any bytes
  uint64_t seq = 0;  // among the captures of this tag, from 0
  Trigger trigger;
  std::vector<VcpuReport> vcpus;
  CaptureCost cost;
  std::vector<Degraded> degraded;
  JsonMembers more;  // maps, variables, scx
  bool operator==(const Report&) const = default;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_REPORT_H_
