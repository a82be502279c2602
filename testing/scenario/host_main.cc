// main() of a scenario program: the first process of a guest, or a GoogleTest program on the host.
//
// On the host every WATCH_SCENARIO is a test case Scenario.Name: it boots a guest with this program
// as /init, and then runs the POST_VM. Ordinary TESTs of the program run as they are.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/log/initialize.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/guest/guest_main.h"
#include "testing/scenario/host_options.h"
#include "testing/scenario/registry.h"
#include "testing/scenario/run_scenario.h"
#include "testing/scenario/self.h"
#include "testing/scenario/verdict.h"
#include "testing/scenario/where_it_runs.h"

namespace watchsnap {
namespace {

struct HostSide {
  std::vector<std::string> arguments;  // of the command line, without argv[0] and gtest's
  HostOptions options;
  // Why no scenario can run on this machine; empty if they can.
  std::string nowhere;
  int interrupt_fd = -1;
};

HostSide& TheHostSide() {
  static HostSide* const host = new HostSide;
  return *host;
}

// One scenario as a test case.
class ScenarioTest : public testing::Test {
 public:
  explicit ScenarioTest(const RegisteredScenario& scenario) : scenario_(scenario) {}

  void TestBody() override {
    const HostSide& host = TheHostSide();
    if (!host.nowhere.empty()) {
      if (const char* skip = getenv("WATCHSNAP_ALLOW_SKIP");
          skip != nullptr && std::string(skip) == "1") {
        GTEST_SKIP() << host.nowhere;
      }
      FAIL() << "HARNESS FAILURE: no host on this machine can run scenarios.\n" << host.nowhere;
    }
    const std::string outputs = OutputsFolder();
    const std::string console = absl::StrCat(
        outputs, "/", RegisteredScenarios().size() > 1 ? scenario_.name + "." : "", "console.log");
    ScenarioRun run =
        RunScenarioInGuest(scenario_, host.options,
                           {.outputs_folder = outputs, .console_log = console}, host.interrupt_fd);
    Tell(run, outputs);
    if (run.verdict != Verdict::kPassed) {
      ADD_FAILURE_AT(scenario_.file, scenario_.line)
          << VerdictName(run.verdict) << ": " << run.message;
    } else if (scenario_.post_vm != nullptr) {
      SCOPED_TRACE(absl::StrCat("ASSERTION FAILURE in POST_VM(", scenario_.name,
                                "), after the guest's part passed"));
      scenario_.post_vm(*run.result);
    }
    printf("again: %s\n",
           RunAgainLine(host.arguments, absl::StrCat("Scenario.", scenario_.name)).c_str());
  }

 private:
  void Tell(const ScenarioRun& run, const std::string& outputs) {
    if (!run.result.has_value()) return;
    printf("%s: the machine ended by %s\n", scenario_.name.c_str(),
           Ending(run.result->end).c_str());
    for (const std::string& text : run.result->plugin_summary) {
      printf("%s: %s\n", TheHostSide().options.debug_plugin.c_str(), text.c_str());
    }
    for (const auto& [symbol, counters] : run.result->watches) {
      printf("%s: %s\n", symbol.c_str(), CountersText(counters).c_str());
      RecordProperty("watch." + symbol, CountersText(counters));
    }
    if (run.verdict == Verdict::kPassed && run.result->scenario.has_value()) {
      for (const std::string& note : run.result->scenario->details)
        printf("note: %s\n", note.c_str());
    }
    printf("results are in %s\n", outputs.c_str());
  }

  const RegisteredScenario& scenario_;
};

void RegisterScenarioTests() {
  for (const RegisteredScenario& scenario : RegisteredScenarios()) {
    if (scenario.scenario == nullptr) continue;
    testing::RegisterTest("Scenario", scenario.name.c_str(), nullptr, nullptr, scenario.file,
                          scenario.line,
                          [&scenario]() -> testing::Test* { return new ScenarioTest(scenario); });
  }
}

// SIGINT and the like become readable, so that a run ends whole.
int BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

// 128 + the signal that came meanwhile, or `code`.
int ExitCode(int interrupt_fd, int code) {
  signalfd_siginfo info = {};
  if (interrupt_fd >= 0 && read(interrupt_fd, &info, sizeof(info)) == sizeof(info)) {
    return 128 + static_cast<int>(info.ssi_signo);
  }
  return code;
}

int UsageError(std::string_view message) {
  fprintf(stderr, "%s\n", std::string(message).c_str());
  return 2;
}

int HostMain(int argc, char** argv) {
  const std::vector<std::string> command_line(argv + 1, argv + argc);
  testing::InitGoogleMock(&argc, argv);
  HostSide& host = TheHostSide();
  // What is left is ours.
  host.arguments.assign(argv + 1, argv + argc);
  if (absl::Status status = CheckRegistry(); !status.ok()) return UsageError(status.message());
  RegisterScenarioTests();
  if (RegisteredScenarios().empty() || GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();

  absl::StatusOr<HostOptions> options = ParseHostOptions(AllArguments(host.arguments));
  if (!options.ok()) return UsageError(options.status().message());
  host.options = *options;
  absl::StatusOr<Place> place = ChoosePlace(host.options.host);
  if (place.ok() && !place->here) {
    printf("scenarios run %s\n", place->reason.c_str());
    fflush(stdout);
    absl::StatusOr<int> code = RunAgainInEmulatedHost(command_line, OutputsFolder());
    if (code.ok()) return *code;
    host.nowhere = absl::StrCat("Not here: ", place->reason,
                                "\nNot in the emulated KVM host: ", code.status().ToString());
  } else if (!place.ok()) {
    host.nowhere = std::string(place.status().message());
  } else {
    printf("scenarios run %s\n", place->reason.c_str());
    host.interrupt_fd = BlockSignals();
  }
  return ExitCode(host.interrupt_fd, RUN_ALL_TESTS());
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  if (watchsnap::IsScenarioGuest()) watchsnap::GuestMain();
  absl::InitializeLog();
  return watchsnap::HostMain(argc, argv);
}
