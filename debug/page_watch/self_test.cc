#include "debug/page_watch/self_test.h"

#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {

absl::Status PageWatchWorksHere(PageWay way) {
  static absl::Mutex mutex;
  static std::map<PageWay, absl::Status>* known ABSL_GUARDED_BY(mutex) = nullptr;
  absl::MutexLock lock(&mutex);
  if (known == nullptr) known = new std::map<PageWay, absl::Status>;
  if (const auto found = known->find(way); found != known->end()) return found->second;
  absl::Status status = RunPageWatchSelfTest(way);
  // What could not be tried is not remembered: it may go better next time.
  if (!status.ok() && !absl::IsFailedPrecondition(status)) {
    return absl::Status(status.code(), absl::StrCat("the self-test of page_watch could not run: ",
                                                    status.message()));
  }
  if (!status.ok()) {
    status = absl::FailedPreconditionError(
        way == PageWay::kHostProtection
            ? absl::StrCat(
                  "page_watch cannot watch a machine with several vCPUs on this host: ",
                  status.message(),
                  ". It was tried with known stores of a small guest, and nothing is armed. Use "
                  "instead: one vCPU; hw_watch where the host delivers hardware watchpoints; the "
                  "emulated KVM host (--host emulated, or //testing/kvm_host)")
            : absl::StrCat("page_watch does not work on this host: ", status.message(),
                           ". It was tried with known stores of a small guest, and nothing is armed. "
                           "Use instead: hw_watch where the host delivers hardware watchpoints; the "
                           "emulated KVM host (--host emulated, or //testing/kvm_host)"));
  }
  known->emplace(way, status);
  return status;
}

}  // namespace watchsnap
