// A scheduler as users have them: a dynamically linked program that loads its own BPF object, and
// ends on SIGTERM.
#include <signal.h>
#include <stdio.h>

#include <string>

#include "testing/bpf/loaded_object.h"

int main() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  auto object = watchsnap::LoadedBpfObject::Load("/data/fifo.bpf.o");
  if (!object.ok()) {
    fprintf(stderr, "fifo_program: %s\n", std::string(object.status().message()).c_str());
    return 1;
  }
  if (auto attached = (*object)->Attach(); !attached.ok()) {
    fprintf(stderr, "fifo_program: %s\n", std::string(attached.status().message()).c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}
