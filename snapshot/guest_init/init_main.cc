// watchsnap-init: the first process of a guest whose own /init knows nothing of watchsnap
// (rdinit=/watchsnap-init).
//
// It says HELLO to the host, waits until the host has armed its watches, leaves no trace (what it
// mounted is unmounted) and becomes the guest's /init. Without an /init it idles as a minimal one.
// Every wait is bounded: without a host at the other end the guest boots all the same, and the
// console says why nothing is watched.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "snapshot/guest_init/control_port.h"
#include "snapshot/guest_init/guest_clock.h"
#include "snapshot/guest_init/guest_mounts.h"
#include "snapshot/guest_init/idle_init.h"
#include "snapshot/guest_init/parameters.h"
#include "snapshot/wire/control_client.h"

namespace watchsnap {
namespace {

constexpr char kUserInit[] = "/init";
constexpr char kFolder[] = "/.watchsnap";
constexpr char kSys[] = "/.watchsnap/sys";
constexpr char kDev[] = "/.watchsnap/dev";

// The host may be emulated and busy; these bound a wait that something is wrong with, not one that
// is slow.
constexpr absl::Duration kPortTimeout = absl::Seconds(30);
constexpr absl::Duration kHostTimeout = absl::Seconds(30);
constexpr absl::Duration kGoTimeout = absl::Seconds(120);

void Say(const std::string& text) { fprintf(stderr, "watchsnap-init: %s\n", text.c_str()); }

// The kernel gives PID 1 /dev/console where the initramfs has that node; without it, the one in
// devtmpfs.
void EnsureConsole() {
  if (fcntl(STDERR_FILENO, F_GETFD) >= 0) return;
  const std::string path = std::string(kDev) + "/console";
  const int console = open(path.c_str(), O_RDWR | O_NOCTTY);
  if (console < 0) return;
  for (int fd = console + 1; fd <= STDERR_FILENO; ++fd) dup2(console, fd);
}

absl::StatusOr<HelloReply> MeetHost() {
  absl::StatusOr<int> port = OpenControlPort({.sysfs = kSys, .dev = kDev}, kPortTimeout);
  if (!port.ok()) return port.status();
  ControlClient client(*port);
  if (absl::Status status = client.WaitForHost(kHostTimeout); !status.ok()) return status;
  Hello hello;
  const GuestClock clock = ReadGuestClock();
  hello.guest_tsc = clock.counter;
  hello.guest_monotonic_ns = clock.monotonic_ns;
  absl::StatusOr<HelloReply> reply = client.SayHello(hello, kHostTimeout);
  if (!reply.ok()) return reply.status();
  if (absl::Status status = client.Ready(kGoTimeout); !status.ok()) return status;
  return reply;
}

absl::Duration Lifetime(const HelloReply& reply) {
  auto found = reply.parameters.find(guest_parameter::kPowerOffAfterMs);
  int64_t ms = 0;
  if (found == reply.parameters.end() || !absl::SimpleAtoi(found->second, &ms))
    return absl::InfiniteDuration();
  return absl::Milliseconds(ms);
}

int Main(char** argv, char** environment) {
  for (const GuestMount& mount : {GuestMount{"sysfs", kSys}, GuestMount{"devtmpfs", kDev}}) {
    if (absl::Status status = Mount(mount); !status.ok()) Say(std::string(status.message()));
  }
  EnsureConsole();
  absl::StatusOr<HelloReply> reply = MeetHost();
  if (!reply.ok()) {
    Say("going on without the host: " + std::string(reply.status().message()));
    reply = HelloReply{};
  }
  for (const char* folder : {kSys, kDev}) {
    umount2(folder, MNT_DETACH);
    rmdir(folder);
  }
  rmdir(kFolder);

  if (access(kUserInit, X_OK) == 0) {
    char name[] = "/init";
    argv[0] = name;
    execve(kUserInit, argv, environment);
    Say(std::string("cannot run /init: ") + strerror(errno) + "; idling instead");
  } else {
    Say("no /init in the initramfs: idling");
  }
  RunIdleInit(Lifetime(*reply));
}

}  // namespace
}  // namespace watchsnap

int main(int, char** argv, char** environment) {
  if (getpid() != 1) {
    fprintf(stderr,
            "watchsnap-init is the first process of a guest (rdinit=/watchsnap-init), not a "
            "command.\n");
    return 2;
  }
  return watchsnap::Main(argv, environment);
}
