// bpf_loader: loads a BPF object in a guest, attaches what is in it, keeps it until SIGTERM or
// SIGINT.
//
//   bpf_loader [--status-fd=N] OBJECT.bpf.o
//
// To the status descriptor it writes one line, "attached NAME…" or "failed WHY", and closes it. On
// failure standard error has libbpf's and the verifier's last lines, and the exit code is 1.
//
// While it waits it wakes up twenty times a second: a scheduler has something to schedule, and the
// "stall" scheduler of this folder a victim.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "testing/bpf/loaded_object.h"

namespace watchsnap {
namespace {

constexpr timespec kTurn = {.tv_sec = 0, .tv_nsec = 50'000'000};

void Tell(int status_fd, std::string line) {
  if (status_fd < 0) return;
  line += "\n";
  if (write(status_fd, line.data(), line.size()) < 0) perror("bpf_loader: status");
  close(status_fd);
}

absl::StatusOr<std::unique_ptr<LoadedBpfObject>> LoadAndAttach(const std::string& path,
                                                               std::string& attached) {
  absl::StatusOr<std::unique_ptr<LoadedBpfObject>> object = LoadedBpfObject::Load(path);
  if (!object.ok()) return object.status();
  absl::StatusOr<std::vector<std::string>> names = (*object)->Attach();
  if (!names.ok()) return names.status();
  if (names->empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " holds nothing that can be attached"));
  }
  attached = absl::StrJoin(*names, " ");
  return object;
}

int Main(const std::string& path, int status_fd) {
  // Whoever starts it may have been scheduled under another name; the stall scheduler goes by it.
  prctl(PR_SET_NAME, "bpf_loader");
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  std::string attached;
  absl::StatusOr<std::unique_ptr<LoadedBpfObject>> object = LoadAndAttach(path, attached);
  if (!object.ok()) {
    const std::string why(object.status().message());
    fprintf(stderr, "bpf_loader: %s\n", why.c_str());
    Tell(status_fd, absl::StrCat("failed ", why.substr(0, why.find('\n'))));
    return 1;
  }
  printf("bpf_loader: attached %s\n", attached.c_str());
  fflush(stdout);
  Tell(status_fd, absl::StrCat("attached ", attached));
  while (sigtimedwait(&ends, nullptr, &kTurn) < 0) {
  }
  return 0;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  int status_fd = -1;
  std::string path;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--status-fd=")) {
      if (!absl::SimpleAtoi(argument, &status_fd)) argument = "";
      if (status_fd < 0) path.clear();
    } else {
      path = argument;
    }
  }
  if (path.empty()) {
    fprintf(stderr, "usage: bpf_loader [--status-fd=N] OBJECT.bpf.o\n");
    return 2;
  }
  return watchsnap::Main(path, status_fd);
}
