#include "testing/scenario/registry.h"

#include "absl/strings/str_cat.h"

namespace watchsnap {
namespace {

struct Registry {
  std::vector<RegisteredScenario> scenarios;
  std::vector<std::string> problems;
};

Registry& TheRegistry() {
  static Registry* const registry = new Registry;
  return *registry;
}

RegisteredScenario& Entry(std::string_view name) {
  Registry& registry = TheRegistry();
  for (RegisteredScenario& entry : registry.scenarios) {
    if (entry.name == name) return entry;
  }
  registry.scenarios.push_back({.name = std::string(name)});
  return registry.scenarios.back();
}

}  // namespace

bool RegisterScenario(std::string_view name, const char* file, int line,
                      ScenarioFunction scenario) {
  RegisteredScenario& entry = Entry(name);
  if (entry.scenario != nullptr) {
    TheRegistry().problems.push_back(absl::StrCat(file, ":", line, ": a second WATCH_SCENARIO(",
                                                  name, "); the first is at ", entry.file, ":",
                                                  entry.line));
    return false;
  }
  entry.scenario = scenario;
  entry.file = file;
  entry.line = line;
  return true;
}

bool RegisterExpectedEnd(std::string_view name, const char* file, int line, RunEndKind end) {
  RegisteredScenario& entry = Entry(name);
  if (entry.expected_end.has_value()) {
    TheRegistry().problems.push_back(
        absl::StrCat(file, ":", line, ": a second EXPECT_GUEST_END(", name, ")"));
    return false;
  }
  entry.expected_end = end;
  if (entry.scenario == nullptr) {
    entry.file = file;
    entry.line = line;
  }
  return true;
}

bool RegisterPostVm(std::string_view name, const char* file, int line, PostVmFunction post_vm) {
  RegisteredScenario& entry = Entry(name);
  if (entry.post_vm != nullptr) {
    TheRegistry().problems.push_back(
        absl::StrCat(file, ":", line, ": a second POST_VM(", name, ")"));
    return false;
  }
  entry.post_vm = post_vm;
  if (entry.scenario == nullptr) {
    entry.file = file;
    entry.line = line;
  }
  return true;
}

const std::vector<RegisteredScenario>& RegisteredScenarios() { return TheRegistry().scenarios; }

const RegisteredScenario* FindScenario(std::string_view name) {
  for (const RegisteredScenario& entry : TheRegistry().scenarios) {
    if (entry.name == name && entry.scenario != nullptr) return &entry;
  }
  return nullptr;
}

absl::Status CheckRegistry() {
  std::vector<std::string> problems = TheRegistry().problems;
  for (const RegisteredScenario& entry : TheRegistry().scenarios) {
    if (entry.scenario == nullptr) {
      problems.push_back(absl::StrCat(entry.file, ":", entry.line, ": POST_VM or EXPECT_GUEST_END(", entry.name,
                                      ") without WATCH_SCENARIO(", entry.name,
                                      ") in the same program"));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  std::string text = "scenarios are registered wrongly:";
  for (const std::string& problem : problems) absl::StrAppend(&text, "\n  ", problem);
  return absl::InvalidArgumentError(text);
}

}  // namespace watchsnap
