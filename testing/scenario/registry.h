// The scenarios of this program, in the order of their source, filled by WATCH_SCENARIO and POST_VM
// before main().
//
// Threads: written during static initialisation only. Errors: a scenario without a name of its own,
// or a POST_VM without its scenario, is told by CheckRegistry, which both sides' mains call.
#ifndef WATCHSNAP_TESTING_SCENARIO_REGISTRY_H_
#define WATCHSNAP_TESTING_SCENARIO_REGISTRY_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "testing/scenario/assert_result.h"
#include "testing/scenario/context.h"
#include "vmm/run_end.h"

namespace watchsnap {

struct VmResult;

using ScenarioFunction = absl::StatusOr<AssertResult> (*)(ScenarioContext& ctx);
using PostVmFunction = void (*)(const VmResult& result);

struct RegisteredScenario {
  std::string name;
  const char* file = "";
  int line = 0;
  ScenarioFunction scenario = nullptr;  // runs in the guest
  PostVmFunction post_vm = nullptr;     // runs on the host afterwards; may be absent
  // How the guest is to end, before the scenario returns; absent: the scenario returns.
  std::optional<RunEndKind> expected_end = std::nullopt;
};

bool RegisterScenario(std::string_view name, const char* file, int line, ScenarioFunction scenario);
bool RegisterExpectedEnd(std::string_view name, const char* file, int line, RunEndKind end);
bool RegisterPostVm(std::string_view name, const char* file, int line, PostVmFunction post_vm);

const std::vector<RegisteredScenario>& RegisteredScenarios();
// nullptr if there is none.
const RegisteredScenario* FindScenario(std::string_view name);
absl::Status CheckRegistry();

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_REGISTRY_H_
