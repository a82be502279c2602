// two_machines: two machines in one process, each counting, both at the same time.
//   bazel run //:two_machines
#include <cstdio>
#include <string>

#include "absl/status/statusor.h"
#include "counting_machine.h"

int main() {
  absl::StatusOr<embedder::CountingMachine> first = embedder::CountingMachine::Create(1000);
  absl::StatusOr<embedder::CountingMachine> second = embedder::CountingMachine::Create(2000);
  if (!first.ok() || !second.ok()) {
    std::fprintf(stderr, "%s\n", std::string(first.ok() ? second.status().ToString() : first.status().ToString()).c_str());
    return 1;
  }
  for (auto* machine : {&*first, &*second}) {
    if (absl::Status started = machine->Start(); !started.ok()) {
      std::fprintf(stderr, "%s\n", started.ToString().c_str());
      return 1;
    }
  }
  for (auto* machine : {&*first, &*second}) {
    const watchsnap::RunEnd end = machine->Wait(absl::Minutes(1));
    std::printf("%s: %s, counter %llu\n", std::string(watchsnap::RunEndKindName(end.kind)).c_str(), end.detail.c_str(),
                static_cast<unsigned long long>(machine->Counter().value_or(0)));
    if (end.kind != watchsnap::RunEndKind::kPowerOff) return 1;
  }
}
