// main() of `watchsnap`: the commands, joined with the emulated KVM host.
#include <utility>

#include "snapshot/cli/commands.h"
#include "testing/kvm_host/launcher.h"

int main(int argc, char** argv) {
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
