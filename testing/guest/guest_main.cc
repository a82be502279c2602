#include "testing/guest/guest_main.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "snapshot/guest_init/control_port.h"
#include "snapshot/guest_init/guest_clock.h"
#include "snapshot/guest_init/guest_mounts.h"
#include "snapshot/guest_init/idle_init.h"
#include "snapshot/wire/control_client.h"
#include "testing/guest/guest_parameters.h"
#include "testing/guest/scenario_process.h"
#include "testing/scenario/context.h"
#include "testing/scenario/guest_scheduler.h"
#include "testing/scenario/program_libraries.h"
#include "testing/scenario/registry.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kPortTimeout = absl::Seconds(60);
constexpr absl::Duration kHostTimeout = absl::Seconds(60);
constexpr absl::Duration kGoTimeout = absl::Seconds(120);
constexpr absl::Duration kByeTimeout = absl::Seconds(5);
constexpr absl::Duration kReapTimeout = absl::Seconds(5);
constexpr absl::Duration kDefaultScenarioTimeout = absl::Minutes(5);

void Say(std::string_view text) { fprintf(stderr, "watchsnap: %s\n", std::string(text).c_str()); }

// The kernel opened /dev/console for us if the initramfs had that node; devtmpfs has it in any
// case.
void EnsureConsole() {
  if (fcntl(STDERR_FILENO, F_GETFD) < 0) {
    const int console = open("/dev/console", O_RDWR | O_NOCTTY);
    for (int fd = STDIN_FILENO; console >= 0 && fd <= STDERR_FILENO; ++fd) {
      if (fd != console) dup2(console, fd);
    }
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
}

absl::Duration MillisecondsParameter(const HelloReply& reply, const char* name,
                                     absl::Duration otherwise) {
  const auto found = reply.parameters.find(name);
  int64_t ms = 0;
  if (found == reply.parameters.end() || !absl::SimpleAtoi(found->second, &ms)) return otherwise;
  return absl::Milliseconds(ms);
}

absl::StatusOr<HelloReply> MeetHost(ControlClient& client) {
  if (absl::Status status = client.WaitForHost(kHostTimeout); !status.ok()) return status;
  const GuestClock clock = ReadGuestClock();
  Hello hello;
  hello.guest_tsc = clock.counter;
  hello.guest_monotonic_ns = clock.monotonic_ns;
  absl::StatusOr<HelloReply> reply = client.SayHello(hello, kHostTimeout);
  if (!reply.ok()) return reply.status();
  if (absl::Status status = client.Ready(kGoTimeout); !status.ok()) return status;
  return reply;
}

void RunNamedScenario(ControlClient& client, int fd, const HelloReply& reply) {
  const auto named = reply.parameters.find(guest_parameter::kScenario);
  const std::string name = named == reply.parameters.end() ? "" : named->second;
  const RegisteredScenario* scenario = FindScenario(name);
  if (scenario == nullptr) {
    const absl::Status sent =
        client.SendResult({.passed = false,
                           .details = {absl::StrCat("the host asked for scenario '", name,
                                                    "', which this program does not have")},
                           .exit_reason = "no such scenario"},
                          kHostTimeout);
    if (!sent.ok()) Say(sent.message());
    return;
  }
  ScenarioContext ctx(name, MillisecondsParameter(reply, guest_parameter::kHoldMs,
                                                  absl::Milliseconds(reply.hold_ms)));
  ctx.set_parameters(reply.parameters);
  ctx.set_channel(&client, fd);
  std::optional<std::string> expected_error;
  if (const auto expected = reply.parameters.find(guest_parameter::kExpectSchedulerError);
      expected != reply.parameters.end()) {
    expected_error = expected->second;
  }
  GuestSchedulers schedulers({}, expected_error);
  ctx.set_schedulers(&schedulers);
  Say(absl::StrCat("scenario ", name, " begins"));
  RunScenarioProcess(
      *scenario, ctx,
      MillisecondsParameter(reply, guest_parameter::kTimeoutMs, kDefaultScenarioTimeout));
  Say(absl::StrCat("scenario ", name, " ended"));
}

void MeetAndRun() {
  absl::StatusOr<int> port = OpenControlPort({}, kPortTimeout);
  if (!port.ok()) return Say(port.status().message());
  ControlClient client(*port);
  absl::StatusOr<HelloReply> reply = MeetHost(client);
  if (!reply.ok()) return Say(reply.status().message());
  RunNamedScenario(client, *port, *reply);
  if (absl::Status bye = client.SayBye(kByeTimeout); !bye.ok()) Say(bye.message());
}

void EndAllProcesses() {
  kill(-1, SIGKILL);
  const absl::Time deadline = absl::Now() + kReapTimeout;
  pid_t reaped = 0;
  while ((reaped = waitpid(-1, nullptr, WNOHANG)) >= 0 && absl::Now() < deadline) {
    if (reaped == 0) absl::SleepFor(absl::Milliseconds(1));
  }
}

}  // namespace

bool IsScenarioGuest() { return getpid() == 1 && getenv(kGuestMarker) != nullptr; }

void GuestMain() {
  const std::vector<absl::Status> failures = MountAll(StandardMounts());
  EnsureConsole();
  for (const absl::Status& failure : failures) Say(failure.message());
  if (absl::Status status = CheckRegistry(); !status.ok()) Say(status.message());
  setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
  setenv("LD_LIBRARY_PATH", absl::StrCat(kGuestLibraryFolder, ":/data").c_str(), 1);
  MeetAndRun();
  EndAllProcesses();
  PowerOffGuest();
}

}  // namespace watchsnap
