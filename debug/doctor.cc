#include "debug/doctor.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/registry.h"

namespace watchsnap {
namespace {

// Plugins are asked for their capabilities without a machine.
class NoMachine : public DebugTarget {
 public:
  int vcpu_count() const override { return 0; }
  absl::Status RunOnVcpu(int, std::function<absl::Status()>) override { return None(); }
  absl::Status SetGuestDebug(int, const kvm_guest_debug&) override { return None(); }
  absl::StatusOr<kvm_debugregs> GetDebugRegs(int) override { return None(); }
  absl::Status SetDebugRegs(int, const kvm_debugregs&) override { return None(); }
  absl::Status WhileFrozen(std::function<absl::Status()>) override { return None(); }
  uint8_t* HostAddress(int, uint64_t, uint64_t) override { return nullptr; }
  const VcpuRegisters& Registers(int) override { return registers_; }
  void SaveRegisters(int) override {}

 private:
  static absl::Status None() { return absl::FailedPreconditionError("there is no machine"); }
  const VcpuRegisters registers_ = {};
};

struct WantedCapability {
  int number;
  const char* name;
  bool required;
  int mask;  // bits that must be there; 0: any value but 0
  const char* use;
};

// Documentation/virt/kvm/api.rst, "Capabilities".
constexpr WantedCapability kWanted[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", true, 0, "guest memory"},
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", true, 0, "in-kernel interrupt controllers"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", true, 0, "interrupts of devices"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD", true, 0, "interrupts of devices"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", true, 0, "doorbells of devices"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", true, 0, "starting vCPUs"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", true, 0, "stopping vCPUs for a freeze"},
    {KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG", true, 0, "watchpoints"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", true, 0,
     "giving the guest's own debug exceptions back"},
    {KVM_CAP_SET_GUEST_DEBUG2, "KVM_CAP_SET_GUEST_DEBUG2 (hardware breakpoints)", false,
     KVM_GUESTDBG_USE_HW_BP, "without it KVM does not say whether it takes watchpoints"},
    {KVM_CAP_SET_GUEST_DEBUG2, "KVM_CAP_SET_GUEST_DEBUG2 (single step)", false,
     KVM_GUESTDBG_SINGLESTEP, "stepping a vCPU over one instruction"},
    {KVM_CAP_SET_GUEST_DEBUG2, "KVM_CAP_SET_GUEST_DEBUG2 (block interrupts)", false,
     KVM_GUESTDBG_BLOCKIRQ, "a single step that no interrupt diverts"},
    {KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS (general and special registers)", false,
     KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS, "without it each freeze costs two more calls a vCPU"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", false, 0, "watches by page protection"},
    {KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", false, 0,
     "hiding pauses from the guest's clock"},
    {KVM_CAP_VCPU_ATTRIBUTES, "KVM_CAP_VCPU_ATTRIBUTES", false, 0,
     "hiding pauses from the guest's time-stamp counter"},
    {KVM_CAP_NR_VCPUS, "KVM_CAP_NR_VCPUS", false, 0, "how many vCPUs KVM recommends"},
};

void CheckKvm(DoctorReport& report) {
  const int kvm = open(report.kvm_path.c_str(), O_RDWR | O_CLOEXEC);
  if (kvm < 0) {
    std::string advice;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
      advice =
          "this machine offers no KVM: load kvm_intel or kvm_amd, allow nested virtualisation if "
          "it is a virtual machine itself, or use the emulated KVM host";
    } else if (errno == EACCES || errno == EPERM) {
      advice = "this user may not open it: join the group kvm, or run as root";
    }
    report.checks.push_back({report.kvm_path, false, true, std::strerror(errno), advice});
    return;
  }
  report.checks.push_back({report.kvm_path, true, true, "opens", ""});
  const int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
  report.checks.push_back({"KVM API version", version == KVM_API_VERSION, true,
                           absl::StrCat(version),
                           absl::StrCat("version ", KVM_API_VERSION, " is needed")});
  for (const WantedCapability& wanted : kWanted) {
    const int value = ioctl(kvm, KVM_CHECK_EXTENSION, wanted.number);
    const bool ok =
        wanted.mask == 0 ? value > 0 : value > 0 && (value & wanted.mask) == wanted.mask;
    report.checks.push_back({wanted.name, ok, wanted.required,
                             wanted.mask == 0 ? absl::StrCat(value) : absl::StrFormat("%#x", value),
                             wanted.use});
  }
  close(kvm);
}

DoctorRoute JudgeDirectRoute(const DoctorReport& report) {
  DoctorRoute route = {.name = "direct"};
  std::string missing;
  for (const DoctorCheck& check : report.checks) {
    if (check.required && !check.ok) {
      absl::StrAppend(&missing, missing.empty() ? "" : ", ", check.name, " (", check.found, ")");
    }
  }
  if (!missing.empty()) {
    route.detail = absl::StrCat("this host's KVM lacks ", missing);
  } else if (!report.self_test.ok()) {
    route.detail =
        absl::StrCat("a small guest could not be run: ", report.self_test.status().message());
  } else if (!report.self_test->AllDeliver()) {
    route.detail = absl::StrCat("hardware watchpoints: ", report.self_test->Summary());
  } else {
    route.usable = true;
    route.detail = "this host's KVM runs a guest and delivers its hardware watchpoints";
  }
  return route;
}

}  // namespace

bool DoctorReport::RequiredChecksOk() const {
  for (const DoctorCheck& check : checks) {
    if (check.required && !check.ok) return false;
  }
  return true;
}

bool DoctorReport::AnyRouteUsable() const {
  for (const DoctorRoute& route : routes) {
    if (route.usable) return true;
  }
  return false;
}

DoctorReport RunDoctor(const std::string& kvm_path) {
  DoctorReport report = {.kvm_path = kvm_path,
                         .checks = {},
                         .self_test = absl::FailedPreconditionError("KVM is not usable"),
                         .plugins = {},
                         .routes = {}};
  CheckKvm(report);
  if (report.RequiredChecksOk()) report.self_test = RunHwWatchSelfTest(kvm_path);
  NoMachine target;
  for (const std::string& name : DebugDeviceNames()) {
    absl::StatusOr<std::unique_ptr<DebugDevice>> device = CreateDebugDevice(name, target);
    if (!device.ok()) continue;
    DoctorPlugin& plugin = report.plugins.emplace_back();
    plugin.name = name;
    plugin.capabilities = (*device)->Capabilities();
    if (report.RequiredChecksOk()) {
      plugin.on_one_vcpu = (*device)->TryHost(1);
      plugin.on_several_vcpus = (*device)->TryHost(2);
    } else {
      plugin.on_one_vcpu = plugin.on_several_vcpus =
          absl::FailedPreconditionError("KVM is not usable");
    }
  }
  report.routes.push_back(JudgeDirectRoute(report));
  return report;
}

}  // namespace watchsnap
