#include "snapshot/guest_init/idle_init.h"

#include <signal.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "snapshot/guest_init/guest_mounts.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kNap = absl::Milliseconds(20);
constexpr int kNapsAProcess = 10;  // one short-lived process every so many naps

volatile sig_atomic_t power_off_asked = 0;

void AskPowerOff(int) { power_off_asked = 1; }

void MakeAProcess() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
}

void ReapAll() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

void PowerOffGuest() {
  fflush(nullptr);
  sync();
  reboot(RB_POWER_OFF);
  reboot(RB_HALT_SYSTEM);
  while (true) pause();
}

void RunIdleInit(absl::Duration lifetime) {
  const absl::Time end = absl::Now() + lifetime;
  for (const absl::Status& failure : MountAll(StandardMounts())) {
    fprintf(stderr, "watchsnap-init: %s\n", std::string(failure.message()).c_str());
  }
  reboot(RB_DISABLE_CAD);  // Ctrl-Alt-Del comes as SIGINT
  struct sigaction action = {};
  action.sa_handler = AskPowerOff;
  for (int signal : {SIGTERM, SIGINT, SIGPWR}) sigaction(signal, &action, nullptr);

  for (int naps = 0; power_off_asked == 0 && absl::Now() < end; ++naps) {
    if (naps % kNapsAProcess == 0) MakeAProcess();
    absl::SleepFor(kNap);
    ReapAll();
  }
  PowerOffGuest();
}

}  // namespace watchsnap
