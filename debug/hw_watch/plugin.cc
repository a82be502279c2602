// Registers hw_watch under its name.
#include <memory>

#include "debug/hw_watch/hw_watch.h"
#include "debug/hw_watch/self_test.h"
#include "debug/registry.h"

namespace watchsnap {

REGISTER_DEBUG_DEVICE("hw_watch", [](DebugTarget& target) -> std::unique_ptr<DebugDevice> {
  return std::make_unique<HwWatch>(target, HwWatchDeliversHere);
});

}  // namespace watchsnap
