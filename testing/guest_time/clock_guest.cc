// The first process of a guest whose clocks are looked at. It waits for one second again and again, half of
// the times asleep (its CPU halts) and half of them busy, and says how long that took by its
// own clocks:
//   clock guest: ready, clocksource NAME
//   clock guest: round N begins          (written before the clocks are read)
//   clock guest: round N ends ns=… tsc=…
// Then it powers off.
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

namespace {

constexpr int kRounds = 12;

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Writes a line whole: one write, one exit to the console.
void Say(const char* text) {
  if (write(1, text, strlen(text)) < 0) _exit(1);
}

void WaitOneSecond(bool busy) {
  const int timer = timerfd_create(CLOCK_MONOTONIC, busy ? TFD_NONBLOCK : 0);
  const itimerspec second = {.it_interval = {}, .it_value = {.tv_sec = 1, .tv_nsec = 0}};
  timerfd_settime(timer, 0, &second, nullptr);
  uint64_t expired = 0;
  while (read(timer, &expired, sizeof expired) != sizeof expired) {
  }
  close(timer);
}

}  // namespace

int main() {
  mkdir("/sys", 0755);
  mount("sysfs", "/sys", "sysfs", 0, nullptr);
  char name[32] = "unknown";
  const int file = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY);
  if (file >= 0) {
    const ssize_t length = read(file, name, sizeof name - 1);
    if (length > 0) name[length - 1] = '\0';
    close(file);
  }
  char line[160];
  snprintf(line, sizeof line, "clock guest: ready, clocksource %s\n", name);
  Say(line);
  for (int round = 0; round < kRounds; ++round) {
    snprintf(line, sizeof line, "clock guest: round %d begins\n", round);
    Say(line);
    const int64_t began = NowNs();
    const uint64_t tsc = __rdtsc();
    WaitOneSecond(round % 2 != 0);
    const int64_t ended = NowNs();
    const uint64_t ticks = __rdtsc() - tsc;
    snprintf(line, sizeof line, "clock guest: round %d ends ns=%lld tsc=%llu\n", round,
             static_cast<long long>(ended - began), static_cast<unsigned long long>(ticks));
    Say(line);
  }
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
