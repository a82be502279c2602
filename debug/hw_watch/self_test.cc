#include "debug/hw_watch/self_test.h"

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "debug/registry.h"

namespace watchsnap {

std::string_view SlotOutcomeText(SlotOutcome outcome) {
  switch (outcome) {
    case SlotOutcome::kDelivers: return "delivers";
    case SlotOutcome::kNeverDelivers: return "accepts a watch and never delivers a hit";
    case SlotOutcome::kMisdelivers: return "delivers something else than the hit";
    case SlotOutcome::kRefuses: return "refuses a watch";
  }
  return "?";
}

bool SelfTestResult::AllDeliver() const {
  for (const SelfTestSlot& slot : slots) {
    if (slot.outcome != SlotOutcome::kDelivers) return false;
  }
  return !slots.empty();
}

std::string SelfTestResult::Summary() const {
  std::string summary;
  for (SlotOutcome outcome : {SlotOutcome::kDelivers, SlotOutcome::kNeverDelivers,
                              SlotOutcome::kMisdelivers, SlotOutcome::kRefuses}) {
    std::string which, detail;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (slots[i].outcome != outcome) continue;
      absl::StrAppend(&which, which.empty() ? "slot " : ", ", i);
      if (detail.empty()) detail = slots[i].detail;
    }
    if (which.empty()) continue;
    absl::StrAppend(&summary, summary.empty() ? "" : "; ", which, ": ", SlotOutcomeText(outcome));
    if (!detail.empty()) absl::StrAppend(&summary, " (", detail, ")");
  }
  return summary;
}

absl::Status DeliveryStatus(const SelfTestResult& result, const std::vector<std::string>& plugins) {
  if (result.AllDeliver()) return absl::OkStatus();
  std::string others;
  for (const std::string& plugin : plugins) {
    if (plugin != "hw_watch") absl::StrAppend(&others, "the debug plugin ", plugin, ", ");
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "hardware watchpoints do not work on this host, although KVM offers them: ", result.Summary(),
      ". Each slot was tried with a known store of a small guest. A watch armed here would never "
      "fire "
      "and the run would look healthy, so nothing is armed. Use instead: ",
      others, "the emulated KVM host (--host emulated, or //testing/kvm_host)",
      others.empty()
          ? "; a debug plugin that needs no watchpoints (page_watch) where one is linked in"
          : ""));
}

absl::Status HwWatchDeliversHere() {
  static absl::Mutex mutex;
  static std::optional<absl::Status>* known ABSL_GUARDED_BY(mutex) = nullptr;
  absl::MutexLock lock(&mutex);
  if (known == nullptr) known = new std::optional<absl::Status>;
  if (known->has_value()) return **known;
  const absl::StatusOr<SelfTestResult> result = RunHwWatchSelfTest();
  // What could not be tried is not remembered: it may go better next time.
  if (!result.ok()) {
    return absl::Status(result.status().code(),
                        absl::StrCat("the self-test of hardware watchpoints could not run: ",
                                     result.status().message()));
  }
  *known = DeliveryStatus(*result, DebugDeviceNames());
  return **known;
}

}  // namespace watchsnap
