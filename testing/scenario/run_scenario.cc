#include "testing/scenario/run_scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "snapshot/vm_session.h"
#include "testing/guest/guest_main.h"
#include "testing/guest/guest_parameters.h"
#include "testing/scenario/guest_image.h"
#include "testing/scenario/self.h"

namespace watchsnap {
namespace {

// To HELLO: 5 s in an idle emulated host, several times that in a busy one.
constexpr absl::Duration kBootTimeout = absl::Seconds(120);
constexpr size_t kLongestProgressLine = 500;

// A hold is in guest time, which stands still while the guest is frozen; and the host may be busy.
absl::Duration GuestTimeout(absl::Duration hold) { return 3 * hold + absl::Seconds(60); }

// A little less than what Bazel leaves us, so that what there is gets written.
absl::Duration SessionTimeout(absl::Duration hold) {
  absl::Duration timeout = 2 * GuestTimeout(hold);
  int seconds = 0;
  const char* bazel = getenv("TEST_TIMEOUT");
  if (bazel != nullptr && absl::SimpleAtoi(bazel, &seconds) && seconds > 60) {
    timeout = std::min(timeout, absl::Seconds(seconds - 45));
  }
  return timeout;
}

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

absl::Status FindInto(const std::string& file, std::vector<std::string>& found_files) {
  absl::StatusOr<std::string> found = FindInputFile(file);
  if (!found.ok()) return found.status();
  // The scheduler may be among the schedulers too.
  if (std::find(found_files.begin(), found_files.end(), *found) == found_files.end()) {
    found_files.push_back(*found);
  }
  return absl::OkStatus();
}

absl::StatusOr<GuestFiles> FindGuestFiles(const HostOptions& options) {
  GuestFiles files;
  absl::Status status = absl::OkStatus();
  for (const std::string& file : options.guest_data) status.Update(FindInto(file, files.data));
  for (const std::string& file : options.schedulers)
    status.Update(FindInto(file, files.schedulers));
  if (!options.scheduler.empty()) status.Update(FindInto(options.scheduler, files.schedulers));
  if (!status.ok()) return status;
  if (!options.bpf_loader.empty()) {
    absl::StatusOr<std::string> loader = FindInputFile(options.bpf_loader);
    if (!loader.ok()) return loader.status();
    files.bpf_loader = *loader;
  }
  return files;
}

absl::StatusOr<VmSessionConfig> MakeConfig(const RegisteredScenario& scenario,
                                           const HostOptions& options,
                                           const std::string& outputs_folder) {
  VmSessionConfig config;
  if (options.vmlinux.empty()) {
    return absl::InvalidArgumentError(
        "--vmlinux=FILE is needed: the kernel with its symbols (watch_scenario_test gives it)");
  }
  absl::StatusOr<std::string> vmlinux = FindInputFile(options.vmlinux);
  if (!vmlinux.ok()) return vmlinux.status();
  config.vmlinux_path = *vmlinux;
  if (!options.kernel.empty()) {
    absl::StatusOr<std::string> kernel = FindInputFile(options.kernel);
    if (!kernel.ok()) return kernel.status();
    config.kernel_path = *kernel;
  }
  absl::StatusOr<GuestFiles> files = FindGuestFiles(options);
  if (!files.ok()) return files.status();
  absl::StatusOr<std::vector<uint8_t>> initrd = BuildGuestImage(SelfPath(), *files);
  if (!initrd.ok()) return initrd.status();
  config.initrd = *std::move(initrd);
  config.test_name = scenario.name;
  config.sidecar_dir = outputs_folder;
  config.vcpus = options.cpus;
  config.topology = options.topology;
  config.memory_bytes = uint64_t{static_cast<uint32_t>(options.memory_mb)} << 20;
  config.append =
      absl::StrCat(options.append, options.append.empty() ? "" : " ", kGuestMarker, "=1");
  config.debug_plugin = options.debug_plugin;
  config.boot_timeout = kBootTimeout;
  config.duration = SessionTimeout(options.duration);
  config.duration_is_deadline = true;
  config.guest_parameters = {
      {guest_parameter::kScenario, scenario.name},
      {guest_parameter::kHoldMs, absl::StrCat(absl::ToInt64Milliseconds(options.duration))},
      {guest_parameter::kTimeoutMs,
       absl::StrCat(absl::ToInt64Milliseconds(GuestTimeout(options.duration)))},
  };
  if (!options.scheduler.empty()) {
    config.guest_parameters[guest_parameter::kScheduler] = FileName(options.scheduler);
  }
  if (!options.expect_scheduler_error.empty()) {
    config.guest_parameters[guest_parameter::kExpectSchedulerError] =
        options.expect_scheduler_error == "any" ? "" : options.expect_scheduler_error;
  }
  return config;
}

}  // namespace

ScenarioRun RunScenarioInGuest(const RegisteredScenario& scenario, const HostOptions& options,
                               const ScenarioRunFiles& files, int interrupt_fd) {
  absl::StatusOr<VmSessionConfig> config = MakeConfig(scenario, options, files.outputs_folder);
  if (!config.ok()) return Judge(scenario, config.status(), files.console_log);
  config->interrupt_fd = interrupt_fd;

  // Written as it comes, so that a run that is killed leaves it.
  std::unique_ptr<FILE, int (*)(FILE*)> log(fopen(files.console_log.c_str(), "we"), fclose);
  if (log == nullptr) {
    return Judge(scenario, absl::ErrnoToStatus(errno, absl::StrCat("make ", files.console_log)),
                 files.console_log);
  }
  config->console_sink = [&log](std::string_view text) {
    fwrite(text.data(), 1, text.size(), log.get());
    fflush(log.get());
  };
  const absl::Time begin = absl::Now();
  config->on_progress = [begin](std::string_view text) {
    // It may quote bytes that the guest sent.
    printf("[%6.1f s] %s\n", absl::ToDoubleSeconds(absl::Now() - begin),
           absl::Utf8SafeCHexEscape(text.substr(0, kLongestProgressLine)).c_str());
    fflush(stdout);
  };
  return Judge(scenario, RunVmSession(*std::move(config)), files.console_log);
}

}  // namespace watchsnap
