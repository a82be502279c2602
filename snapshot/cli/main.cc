// main() of `watchsnap`: the commands, joined with the emulated KVM host.
#include <malloc.h>

#include <utility>

#include "snapshot/cli/commands.h"
#include "testing/kvm_host/launcher.h"

namespace {

// For a small program that stays small: one heap for all threads (no vCPU allocates while it leads a freeze, and
// the others seldom meet), and what a search through debug information took goes back to the kernel.
void KeepHeapSmall() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

}  // namespace

int main(int argc, char** argv) {
  KeepHeapSmall();
  watchsnap::EmulatedHost host;
  host.inside = watchsnap::InsideKvmHost;
  host.run = [](std::vector<std::string> command, std::vector<std::string> writable) {
    watchsnap::KvmHostOptions options;
    options.argv = std::move(command);
    options.writable = std::move(writable);
    return watchsnap::RunInKvmHost(options);
  };
  return watchsnap::WatchsnapMain(argc, argv, host);
}
