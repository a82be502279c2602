// The arming self-test: a host can accept a watchpoint and never deliver it, and then a watch that
// never fires looks like a healthy run. So before the first watch is armed in a process, and by
// `watchsnap doctor`, a tiny machine of its own proves for each slot that a known store is
// delivered.
//
// It takes milliseconds, and is bounded: a guest that does not end within `deadline` is stopped.
// Threads: any; HwWatchDeliversHere runs the test once per process and remembers what it found.
// Errors: a Status where the test could not be carried out (no /dev/kvm, no VM); what the host does
// with watchpoints is a result, not an error, except in HwWatchDeliversHere.
#ifndef WATCHSNAP_DEBUG_HW_WATCH_SELF_TEST_H_
#define WATCHSNAP_DEBUG_HW_WATCH_SELF_TEST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace watchsnap {

enum class SlotOutcome {
  kDelivers,       // the store to the watched word exited, at the right place
  kNeverDelivers,  // the host accepted the watch; the guest stored; nothing came
  kMisdelivers,    // something came, not what the store should have caused
  kRefuses,        // the host did not accept the watch
};
// "delivers", "accepts a watch and never delivers a hit", …
std::string_view SlotOutcomeText(SlotOutcome outcome);

struct SelfTestSlot {
  SlotOutcome outcome = SlotOutcome::kNeverDelivers;
  std::string detail;  // what KVM answered or what came; may be empty
};

struct SelfTestResult {
  std::vector<SelfTestSlot> slots;
  absl::Duration took;

  bool AllDeliver() const;
  // "slot 0, 1, 2, 3: delivers", with one clause for each outcome.
  std::string Summary() const;
};

absl::StatusOr<SelfTestResult> RunHwWatchSelfTest(const std::string& kvm_path = "/dev/kvm",
                                                  absl::Duration deadline = absl::Seconds(10));

// OK if every slot of this host's /dev/kvm delivers; else FailedPrecondition with what was found
// and what to use instead.
absl::Status HwWatchDeliversHere();

// The message of HwWatchDeliversHere. `plugins`: the names of the plugins that this program has.
absl::Status DeliveryStatus(const SelfTestResult& result, const std::vector<std::string>& plugins);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_HW_WATCH_SELF_TEST_H_
