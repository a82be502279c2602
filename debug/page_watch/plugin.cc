// Registers page_watch under its name.
#include <memory>

#include "debug/page_watch/page_watch.h"
#include "debug/page_watch/self_test.h"
#include "debug/registry.h"

namespace watchsnap {

REGISTER_DEBUG_DEVICE("page_watch", [](DebugTarget& target) -> std::unique_ptr<DebugDevice> {
  return std::make_unique<PageWatch>(target, PageWayFor(target.vcpu_count()), PageWatchWorksHere);
});

}  // namespace watchsnap
