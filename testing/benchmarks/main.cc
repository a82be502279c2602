// The table of what a freeze costs; see README.md. Runs in the emulated KVM host, or on a KVM that delivers
// watchpoints:
//   freeze_cost_program --list [WORD]                 what there is to measure (with that in its name), with time limits
//   freeze_cost_program --run=NAME --out=DIR --watchsnap=F --vmlinux=F --image=F --busy-guest=F --scratch=DIR
//   freeze_cost_program --boot KERNEL INITRAMFS       boots it, its console on stdout
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "devices/standard_devices.h"
#include "testing/benchmarks/bare_freeze.h"
#include "testing/benchmarks/figures.h"
#include "testing/benchmarks/kernel_runs.h"
#include "testing/kvm_host/parts.h"
#include "vmm/boot/host_file.h"
#include "vmm/machine.h"

namespace watchsnap {
namespace {

constexpr char kBareExit[] = "a bare debug exit round trip";
constexpr char kFloor[] = "signal + park + thaw of as many vCPUs, nothing captured";

class Table {
 public:
  void Freeze(std::string name, std::string against, std::optional<double> at_most,
              const BareFreezeOptions& options) {
    const absl::StatusOr<BareFreezeResult> result = MeasureBareFreeze(options);
    if (!result.ok()) {
      Add(NotMeasured(std::move(name), std::move(against), std::string(result.status().message())));
      return;
    }
    Figure figure = Compare(std::move(name), std::move(against), at_most, result->product,
                            result->floor);
    if (result->pause.size() > 0) {
      figure.note = absl::StrFormat(
          "of it frozen %.1f: stopping %.1f, evidence %.1f, thaw %.1f; hidden from the guest %.1f",
          result->pause.Median(), result->freeze.Median(), result->evidence.Median(),
          result->thaw.Median(), result->hidden.Median());
    }
    Add(std::move(figure));
  }
  void Add(Figure figure) {
    std::printf("%s: %s %s%s%s\n", figure.name.c_str(),
                figure.ratio.has_value() ? absl::StrFormat("%.2f", *figure.ratio).c_str()
                : figure.measured.empty() ? "not measured:"
                                          : "",
                figure.measured.c_str(), figure.measured.empty() ? "" : "; ", figure.note.c_str());
    std::fflush(stdout);
    figures_.push_back(std::move(figure));
  }
  const std::vector<Figure>& figures() const { return figures_; }

 private:
  std::vector<Figure> figures_;
};

// As a user of the library boots a kernel, with the console where QEMU's microvm has it.
int Boot(const char* kernel, const char* initramfs) {
  const absl::StatusOr<HostFile> file = HostFile::Open(initramfs, "initramfs");
  absl::Status status = file.status();
  std::vector<uint8_t> initrd(file.ok() ? file->size() : 0);
  if (status.ok()) status = file->ReadAt(0, absl::MakeSpan(initrd));
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  MachineConfig config;
  config.memory_bytes = 256 << 20;
  config.boot = LinuxBoot{.kernel_path = kernel,
                          .initrd = std::move(initrd),
                          .command_line = kBenchmarkCommandLine};
  StandardDeviceOptions devices;
  devices.uart_sink = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  config.devices = StandardDevices(devices);
  absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
  status = machine.status();
  if (status.ok()) status = (*machine)->Start();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  (void)(*machine)->Wait(absl::Now() + absl::Minutes(2));
  return 0;
}

// What is measured in one go, in an emulated host of its own.
struct Group {
  std::string name;
  int seconds = 60;    // past which it hangs; it takes a third of that
  bool usual = true;   // else only when asked for by name
  std::function<void(Table&)> measure;
};

std::vector<Group> Groups(const KernelFiles& files) {
  std::vector<Group> groups;
  const auto freeze = [&groups](std::string name, const char* against, std::optional<double> at_most,
                                const BareFreezeOptions& options) {
    groups.push_back({.name = name, .measure = [=](Table& table) {
                        table.Freeze(name, against, at_most, options);
                      }});
  };
  freeze("pause per captured hit, 1 vCPU: registers, stack, 8 KB of variables, time hidden", kBareExit, 1.5, {});
  freeze("a hit whose condition is false", kBareExit, 1.2,
         {.watch = {.max_captures = ~0ull,
                    .max_frozen_permille = 1000,
                    .when = WatchCondition::Equal(~0ull)}});
  freeze("pause per captured hit, 1 vCPU, with 1 MB of values",
         "a bare debug exit and one memcpy of as many bytes", 1.5,
         {.variables = 256, .variable_bytes = 4096, .floor_copy_bytes = 1 << 20});
  freeze("pause per captured hit, 2 vCPUs, the other spins", kFloor, 1.3, {.vcpus = 2});
  freeze("pause per captured hit, 2 vCPUs, the other is halted", kFloor, 1.3,
         {.vcpus = 2, .others_halted = true});
  for (const int vcpus : {2, 8, 32, 64}) {
    freeze(absl::StrCat("freeze with ", vcpus, " halted vCPUs, registers only"),
           "the signalling alone", std::nullopt,
           {.vcpus = vcpus,
            .others_halted = true,
            .stack_bytes = 0,
            .variables = 0,
            .blocks = vcpus > 8 ? 4 : 10,
            .block = vcpus > 8 ? 30 : 60});
  }
  groups.push_back({.name = "sustained captures", .measure = [](Table& table) {
    const absl::StatusOr<SustainedResult> sustained = MeasureSustained(5);
    Figure figure = NotMeasured("sustained captures of a bare guest's counter", "", "");
    figure.to_reach = "stated";
    if (sustained.ok()) {
      figure.measured = absl::StrFormat(
          "%.0f captures a second; the renderer took %.0f %% of one CPU, the vCPU's thread %.0f %%",
          sustained->captures_per_second, 100 * sustained->renderer_share,
          100 * sustained->vcpu_share);
    } else {
      figure.note = std::string(sustained.status().message());
    }
    table.Add(std::move(figure));
  }});
  groups.push_back({.name = "steps", .usual = false, .measure = [](Table&) {
    const absl::StatusOr<std::vector<std::string>> steps = MeasureSteps();
    if (!steps.ok()) return;
    for (const std::string& line : *steps) std::printf("step: %s\n", line.c_str());
  }});
  for (const int vcpus : {1, 2}) {
    groups.push_back({.name = absl::StrCat("progress on ", vcpus, " vCPU", vcpus == 1 ? ", memory" : "s"),
                      .seconds = 400,
                      .measure = [=](Table& table) {
                        for (Figure& figure : MeasureProgress(files, vcpus, 20)) table.Add(std::move(figure));
                      }});
  }
  groups.push_back({.name = "boot", .seconds = 300, .measure = [=](Table& table) {
    for (Figure& figure : MeasureBoot(files, 5)) table.Add(std::move(figure));
  }});
  groups.push_back({.name = "gdb", .seconds = 150, .measure = [=](Table& table) {
    table.Add(MeasureGdb(files));
  }});
  return groups;
}

int List(std::string_view only) {
  bool any = false;
  for (const Group& group : Groups({})) {
    if (only.empty() ? !group.usual : !absl::StrContains(group.name, only)) continue;
    any = true;
    std::printf("%d %s\n", group.seconds, group.name.c_str());
  }
  if (any) return 0;
  std::fprintf(stderr, "freeze_cost: no row has '%.*s' in its name\n", static_cast<int>(only.size()),
               only.data());
  return 2;
}

int Run(std::string_view name, const std::string& out, const KernelFiles& files) {
  for (const Group& group : Groups(files)) {
    if (group.name != name) continue;
    Table table;
    group.measure(table);
    const absl::Status written = AppendFigures(table.figures(), out);
    if (written.ok()) return 0;
    std::fprintf(stderr, "%s\n", std::string(written.message()).c_str());
    return 1;
  }
  std::fprintf(stderr, "freeze_cost: there is no '%.*s'\n", static_cast<int>(name.size()), name.data());
  return 2;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--boot") return watchsnap::Boot(argv[2], argv[3]);
  if (argc >= 2 && std::string_view(argv[1]) == "--list") {
    return watchsnap::List(argc > 2 ? argv[2] : "");
  }
  std::string out, run;
  watchsnap::KernelFiles files;
  const std::map<std::string_view, std::string*> options = {
      {"--out=", &out},
      {"--run=", &run},
      {"--watchsnap=", &files.watchsnap},
      {"--vmlinux=", &files.vmlinux},
      {"--image=", &files.image},
      {"--busy-guest=", &files.busy_guest},
      {"--scratch=", &files.scratch},
  };
  for (int i = 1; i < argc; ++i) {
    bool known = false;
    for (const auto& [prefix, to] : options) {
      std::string_view argument = argv[i];
      if (!absl::ConsumePrefix(&argument, prefix)) continue;
      *to = std::string(argument);
      known = true;
    }
    if (!known) {
      std::fprintf(stderr, "freeze_cost: no such option: %s\n", argv[i]);
      return 2;
    }
  }
  const auto parts = watchsnap::kvm_host::FindParts();
  if (parts.ok()) files.qemu_dir = parts->qemu_dir;
  return watchsnap::Run(run, out, files);
}
