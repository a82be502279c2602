// The words in which a watch or a capture is refused. In one place, because tests and users rely on
// them, on the host and in the guest alike.
#ifndef WATCHSNAP_SNAPSHOT_BRIDGE_BRIDGE_MESSAGES_H_
#define WATCHSNAP_SNAPSHOT_BRIDGE_BRIDGE_MESSAGES_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace watchsnap {

// User watches of a scenario: the slots 1 to 3 of hw_watch.
inline constexpr size_t kMaxWatchSnapshots = 3;

// What every refusal by the cap begins with, for kMaxWatchSnapshots.
inline constexpr std::string_view kCapExceededPrefix =
    "Op::WatchSnapshot cap exceeded: scenario already registered 3 watchpoints (3 user watchpoint "
    "slots occupied; slot 0 reserved for the error-class exit_kind trigger)";

inline std::string CapExceededMessage(std::string_view symbol, size_t cap = kMaxWatchSnapshots) {
  const std::string what =
      cap == kMaxWatchSnapshots
          ? std::string(kCapExceededPrefix)
          : absl::StrCat("Op::WatchSnapshot cap exceeded: scenario already registered ", cap,
                         " watchpoints (the debug plugin offers no more)");
  return absl::StrCat(
      what, "; symbol '", symbol,
      "' is not watched. Watch it in a scenario of its own, drop one of the others, "
      "take it along in timed captures by Op::Snapshot, or choose a debug plugin with "
      "more watches (`watchsnap doctor` lists the plugins)");
}

inline std::string DuplicateWatchMessage(std::string_view symbol) {
  return absl::StrCat("Op::WatchSnapshot: symbol '", symbol,
                      "' is already watched in this scenario; every write to it is captured under "
                      "this tag, so register it once");
}

inline std::string MissingWatchRegisterMessage(std::string_view symbol) {
  return absl::StrCat("Op::WatchSnapshot: symbol '", symbol,
                      "' cannot be watched: this SnapshotBridge has no register_watch callback; "
                      "build it with SnapshotBridge(capture).WithWatchRegister(register_watch), or "
                      "run the scenario in a guest, where the bridge is wired already");
}

inline std::string MissingCaptureMessage(std::string_view tag) {
  return absl::StrCat("Op::Snapshot: '", tag,
                      "' cannot be captured: this SnapshotBridge has no capture callback; build it "
                      "with SnapshotBridge(capture)");
}

inline std::string EmptySymbolMessage() {
  return "Op::WatchSnapshot: the symbol is empty; give the name that `nm vmlinux` prints";
}

// `reason` is the callback's own message, whole; one that names the symbol first needs no more.
inline std::string WatchRefusedMessage(std::string_view symbol, std::string_view reason) {
  if (absl::StartsWith(reason, absl::StrCat("symbol '", symbol, "'"))) {
    return absl::StrCat("Op::WatchSnapshot: ", reason);
  }
  return absl::StrCat("Op::WatchSnapshot: symbol '", symbol, "' cannot be watched: ", reason);
}

inline std::string CaptureFailedMessage(std::string_view tag, std::string_view reason) {
  return absl::StrCat("Op::Snapshot: '", tag, "' could not be captured: ", reason);
}

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_BRIDGE_BRIDGE_MESSAGES_H_
