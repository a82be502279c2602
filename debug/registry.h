// The registry of debug plugins: how a plugin makes itself known, and how it is chosen by name.
//
//   // my_plugin.cc, in a cc_library with alwayslink = True
//   REGISTER_DEBUG_DEVICE("my_plugin", [](DebugTarget& target) -> std::unique_ptr<DebugDevice> {
//     return std::make_unique<MyPlugin>(target);
//   });
//
//   absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice("my_plugin", target);
//
// The built-in plugins are in //debug:plugins; --//debug:plugin=//my:plugin adds another target's.
// Threads: registration before main; the rest from any thread.
// Errors: an unknown name is NotFound and the message lists the known ones. Registering a name
// twice is a bug in the build and aborts at start.
#ifndef WATCHSNAP_DEBUG_REGISTRY_H_
#define WATCHSNAP_DEBUG_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "debug/debug_device.h"

namespace watchsnap {

// `target` outlives the device. A factory does nothing to the target yet.
using DebugDeviceFactory = std::function<std::unique_ptr<DebugDevice>(DebugTarget& target)>;

// For REGISTER_DEBUG_DEVICE; always returns true.
bool RegisterDebugDevice(std::string_view name, DebugDeviceFactory factory);

absl::StatusOr<std::unique_ptr<DebugDevice>> CreateDebugDevice(std::string_view name,
                                                               DebugTarget& target);
// In alphabetical order.
std::vector<std::string> DebugDeviceNames();

}  // namespace watchsnap

#define WATCHSNAP_DEBUG_CONCAT_INNER(a, b) a##b
#define WATCHSNAP_DEBUG_CONCAT(a, b) WATCHSNAP_DEBUG_CONCAT_INNER(a, b)
// At namespace scope, in a .cc file.
#define REGISTER_DEBUG_DEVICE(name, ...)                                                        \
  [[maybe_unused]] static const bool WATCHSNAP_DEBUG_CONCAT(kDebugDeviceRegistered, __LINE__) = \
      ::watchsnap::RegisterDebugDevice(name, __VA_ARGS__)

#endif  // WATCHSNAP_DEBUG_REGISTRY_H_
