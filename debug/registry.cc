#include "debug/registry.h"

#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

namespace watchsnap {
namespace {

struct Registry {
  absl::Mutex mutex;
  std::map<std::string, DebugDeviceFactory, std::less<>> factories ABSL_GUARDED_BY(mutex);
};

Registry& TheRegistry() {
  static Registry* registry = new Registry;  // never destroyed: used before and after main
  return *registry;
}

}  // namespace

bool RegisterDebugDevice(std::string_view name, DebugDeviceFactory factory) {
  Registry& registry = TheRegistry();
  absl::MutexLock lock(&registry.mutex);
  const bool inserted = registry.factories.emplace(std::string(name), std::move(factory)).second;
  CHECK(inserted) << "two debug plugins are linked in under the name '" << name << "'";
  return true;
}

absl::StatusOr<std::unique_ptr<DebugDevice>> CreateDebugDevice(std::string_view name,
                                                               DebugTarget& target) {
  DebugDeviceFactory factory;
  {
    Registry& registry = TheRegistry();
    absl::MutexLock lock(&registry.mutex);
    auto it = registry.factories.find(name);
    if (it != registry.factories.end()) factory = it->second;
  }
  if (factory == nullptr) {
    const std::vector<std::string> names = DebugDeviceNames();
    return absl::NotFoundError(
        absl::StrCat("there is no debug plugin '", name, "'; this program has: ",
                     names.empty() ? "none (link //debug:plugins)" : absl::StrJoin(names, ", ")));
  }
  return factory(target);
}

std::vector<std::string> DebugDeviceNames() {
  Registry& registry = TheRegistry();
  absl::MutexLock lock(&registry.mutex);
  std::vector<std::string> names;
  for (const auto& [name, factory] : registry.factories) names.push_back(name);
  return names;
}

}  // namespace watchsnap
