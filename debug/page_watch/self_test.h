// The self-test of page_watch: whether this host does what the plugin relies on, tried with a small
// guest of one vCPU that makes a few known stores, through the plugin itself.
//
// It takes milliseconds, and is bounded by `deadline`.
// Threads: any; PageWatchWorksHere runs the test once per process and way, and remembers what it found.
// Errors: FailedPrecondition with what the host did instead; other codes where the test could not be
// carried out (no /dev/kvm, no VM).
#ifndef WATCHSNAP_DEBUG_PAGE_WATCH_SELF_TEST_H_
#define WATCHSNAP_DEBUG_PAGE_WATCH_SELF_TEST_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "debug/page_watch/page_watch.h"

namespace watchsnap {

absl::Status RunPageWatchSelfTest(PageWay way, const std::string& kvm_path = "/dev/kvm",
                                  absl::Duration deadline = absl::Seconds(30));

// As the plugin's users need it: what was found, and what to use instead.
absl::Status PageWatchWorksHere(PageWay way);

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_PAGE_WATCH_SELF_TEST_H_
