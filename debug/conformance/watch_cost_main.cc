// What a watch costs the guest, by each plugin: stores to the watched word, to the rest of its page, and
// to another page, on one vCPU and on two (the other halted). Bare guests; nothing is captured.
//
//   ./bazelw build //debug/conformance:watch_cost
//   ./bazelw run //testing/kvm_host -- $PWD/bazel-bin/debug/conformance/watch_cost
//
// Prints a table: the median of several runs, and its ratio to a hit of hw_watch in the same run. The
// figures of an emulated host are worth their ratios only.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "debug/conformance/harness.h"
#include "debug/registry.h"

namespace watchsnap::conformance {
namespace {

constexpr int kRuns = 3;

enum class Where { kWatchedWord, kRestOfItsPage, kAnotherPage };

// Stores `count` times to a place, then powers off.
BareBoot Guest(Where where, uint64_t count, uint64_t& word) {
  BareGuestBuilder builder;
  word = builder.AllocateWord();
  const uint64_t place = where == Where::kWatchedWord     ? word
                         : where == Where::kRestOfItsPage ? builder.AllocateWord()
                                                          : word + 4096;
  builder.Mov(Reg::kRbx, place);
  builder.Mov(Reg::kRcx, count);
  const auto again = builder.Here();
  builder.Store(Reg::kRbx, Reg::kRcx, 4);
  builder.AddImm(Reg::kRcx, -1);
  builder.JmpIf(If::kNotEqual, again);
  builder.PowerOff();
  BareBoot boot = builder.Build();
  boot.started_vcpus = 1;
  return boot;
}

// Nanoseconds from the start to the power-off; negative where it cannot be done.
double RunOnce(const std::string& plugin, int vcpus, Where where, uint64_t count, std::string& why) {
  uint64_t word = 0;
  const BareBoot boot = Guest(where, count, word);
  TheSubject().plugin = plugin.empty() ? "hw_watch" : plugin;
  auto setup = PluginMachine::Make(boot, vcpus, nullptr);
  if (setup == nullptr) return -1;
  if (!plugin.empty()) {
    const absl::Status armed =
        setup->device().Arm({.address = word, .length = 4, .tag = "word"}).status();
    if (!armed.ok()) {
      why = std::string(armed.message());
      return -1;
    }
  }
  const absl::Time began = absl::Now();
  if (!setup->machine().Start().ok()) return -1;
  const RunEnd end = setup->machine().Wait(began + absl::Minutes(2));
  const absl::Duration took = absl::Now() - began;
  return end.kind == RunEndKind::kPowerOff ? absl::ToDoubleNanoseconds(took) : -1;
}

// Of one store: what many take beyond what few take, so that start and end do not count.
double StoreCost(const std::string& plugin, int vcpus, Where where, uint64_t many, std::string& why) {
  const uint64_t few = many / 10;
  std::vector<double> costs;
  for (int i = 0; i < kRuns; ++i) {
    const double short_run = RunOnce(plugin, vcpus, where, few, why);
    const double long_run = RunOnce(plugin, vcpus, where, many, why);
    if (short_run < 0 || long_run < 0) return -1;
    costs.push_back((long_run - short_run) / static_cast<double>(many - few));
  }
  std::sort(costs.begin(), costs.end());
  return costs[costs.size() / 2];
}

int Main() {
  constexpr uint64_t kFree = 2'000'000, kTrapped = 1'000;
  std::cout << absl::StreamFormat("%-11s %6s  %16s %16s %16s\n", "plugin", "vCPUs",
                                  "a hit", "rest of the page", "another page");
  for (int vcpus : {1, 2}) {
    std::string why;
    const double unwatched = StoreCost("", vcpus, Where::kAnotherPage, kFree, why);
    const double unit = StoreCost("hw_watch", vcpus, Where::kWatchedWord, kTrapped, why);
    std::cout << absl::StreamFormat("%-11s %6d  %16s %16s %13.1f ns\n", "none", vcpus, "", "",
                                    unwatched);
    for (const std::string& plugin : DebugDeviceNames()) {
      why.clear();
      const double hit = StoreCost(plugin, vcpus, Where::kWatchedWord, kTrapped, why);
      if (hit < 0) {
        std::cout << absl::StreamFormat("%-11s %6d  cannot: %s\n", plugin, vcpus, why);
        continue;
      }
      const double rest =
          StoreCost(plugin, vcpus, Where::kRestOfItsPage,
                    plugin == "page_watch" ? kTrapped : kFree, why);
      const double other = StoreCost(plugin, vcpus, Where::kAnotherPage, kFree, why);
      std::cout << absl::StreamFormat("%-11s %6d  %7.1f us %5.2fx %7.1f us %5.2fx %7.1f ns %5.2fx\n",
                                      plugin, vcpus, hit / 1000, hit / unit, rest / 1000,
                                      rest / unit, other, other / unwatched)
                << std::flush;
    }
  }
  std::cout << "Hits and the rest of the page: in terms of a hit of hw_watch on as many vCPUs; another "
               "page: of a store that nobody watches.\n";
  return 0;
}

}  // namespace
}  // namespace watchsnap::conformance

int main() { return watchsnap::conformance::Main(); }
