// GdbLayer: everything that lets gdb attach to a machine, put together: the composer under the debug
// plugin, the shared watches over it, the debugger and its server. A layer over any plugin:
//
//   GdbLayer gdb(machine, &target);
//   std::unique_ptr<DebugDevice> device = gdb.Share(CreateDebugDevice("hw_watch", gdb.target()));
//   dispatcher.Connect(device.get(), gdb.Through(&sink));
//   dispatcher.SetLayer(&gdb.layer());
//   absl::Status status = gdb.Listen("/tmp/gdb.sock", on_message);
//   machine->Start(); gdb.Start(); … ; gdb.Stop(); machine->Stop();
//
// Threads: one thread for all of it; `on_message` comes from the server's.
// Ownership: borrows machine and target; must outlive the device and the vCPUs.
// Errors: GdbServer::Listen's.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_GDB_LAYER_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_GDB_LAYER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "debug/debug_device.h"
#include "debug/gdb_server/debugger.h"
#include "debug/gdb_server/gdb_server.h"
#include "debug/gdb_server/guest_debug_composer.h"
#include "debug/gdb_server/run_control.h"
#include "debug/gdb_server/shared_watches.h"
#include "debug/hit_sink.h"
#include "vmm/machine.h"

namespace watchsnap::gdb {

class GdbLayer {
 public:
  GdbLayer(Machine* machine, DebugTarget* target);

  // For the plugin, in place of the machine's own.
  DebugTarget& target() { return composer_; }
  // Once: what the session uses in place of the plugin.
  std::unique_ptr<DebugDevice> Share(std::unique_ptr<DebugDevice> plugin);
  DebugLayer& layer() { return debugger_; }
  // Once: what the dispatcher tells of hits in place of `sink`, which is told by it.
  HitSink* Through(HitSink* sink);

  // After Share.
  absl::Status Listen(const std::string& path, GdbSession::OnMessage on_message);
  // After Listen and once the machine has started.
  void Start() { server_->Start(); }
  void Stop() { server_.reset(); }

 private:
  GuestDebugComposer composer_;
  MachineRunControl run_control_;
  Debugger debugger_;
  std::unique_ptr<GdbServer> server_;
};

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_GDB_LAYER_H_
