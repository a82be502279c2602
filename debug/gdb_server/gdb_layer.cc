#include "debug/gdb_server/gdb_layer.h"

#include <linux/kvm.h>

#include <utility>

#include "debug/gdb_server/x86_64/breakpoint_self_test.h"

namespace watchsnap::gdb {
namespace {

bool CanBlockInterrupts(Machine& machine) {
  // The capability's value is the set of control bits that KVM_SET_GUEST_DEBUG takes.
  return (machine.vm().Capability(KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ) != 0;
}

}  // namespace

GdbLayer::GdbLayer(Machine* machine, DebugTarget* target)
    : composer_(target, CanBlockInterrupts(*machine)),
      run_control_(machine),
      debugger_(&composer_, &run_control_, BreakpointInstructionsAreDelivered) {}

std::unique_ptr<DebugDevice> GdbLayer::Share(std::unique_ptr<DebugDevice> plugin) {
  auto shared = std::make_unique<SharedWatches>(std::move(plugin), &debugger_);
  debugger_.SetWatches(shared.get());
  return shared;
}

HitSink* GdbLayer::Through(HitSink* sink) {
  debugger_.SetSink(sink);
  return &debugger_;
}

absl::Status GdbLayer::Listen(const std::string& path, GdbSession::OnMessage on_message) {
  absl::StatusOr<std::unique_ptr<GdbServer>> server =
      GdbServer::Listen(path, &debugger_, std::move(on_message));
  if (!server.ok()) return server.status();
  server_ = *std::move(server);
  return absl::OkStatus();
}

}  // namespace watchsnap::gdb
