// WriterCounts: a debug plugin that counts, for each watch, how often each instruction wrote, and stops nothing.
//
// Where the traps come from is not its business: it is made over another plugin (hw_watch), hands Arm and Disarm on to it, and marks each
// of its hits `count_only`. A guest under it runs as fast as debug exits allow; no freeze, no capture. Once the run is over,
// Summary tells how many writes came from which function. The watch of the reserved slot (the sched_ext exit-kind trigger) is not
// counted but passed through: failing schedulers leave their dumps under this plugin too.
//
// Threads: as DebugDevice says. OnExit takes no lock: each vCPU has a table of its own, of which only its thread writes; Summary
// reads them all after the vCPUs have stopped.
// Errors: those of the plugin below.
#ifndef EMBEDDER_WRITER_COUNTS_H_
#define EMBEDDER_WRITER_COUNTS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/debug_device.h"

namespace embedder {

class WriterCounts : public watchsnap::DebugDevice {
 public:
  // `target` must outlive this. `traps`: the plugin below.
  WriterCounts(watchsnap::DebugTarget& target, std::unique_ptr<watchsnap::DebugDevice> traps);
  // With the plugin of that name below; where there is none, every Arm says so.
  static std::unique_ptr<WriterCounts> Over(std::string_view plugin, watchsnap::DebugTarget& target);

  std::string_view Name() const override { return "writer_counts"; }
  watchsnap::DebugCapabilities Capabilities() const override;
  absl::StatusOr<watchsnap::WatchId> Arm(const watchsnap::WatchSpec& spec) override;
  absl::Status Disarm(watchsnap::WatchId watch) override;
  absl::Status Retarget(watchsnap::WatchId watch, uint64_t address, uint32_t length) override;
  absl::Status TryHost(int vcpus) override;
  void OnExit(int vcpu, const kvm_debug_exit_arch& exit, watchsnap::WatchHits& hits) override;
  watchsnap::MmioAnswer OnMmio(int vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) override;
  void OnMmioComplete(int vcpu, watchsnap::WatchHits& hits) override;
  bool OnMemoryFault(int vcpu, watchsnap::WatchHits& hits) override;
  bool OnInternalError(int vcpu, watchsnap::WatchHits& hits, std::string& explanation) override;
  void MoreHits(int vcpu, watchsnap::WatchHits& hits) override;
  // "0xffff…: 50 writes by copy_process", most frequent first, one line a watched address and function.
  std::vector<std::string> Summary() override;

 private:
  struct Count {
    uint64_t address = 0;  // what was written; 0: a free entry
    uint64_t next_pc = 0;  // the instruction after the store
    uint64_t writes = 0;
  };
  // Open addressing; a kernel has few places that write one variable. Full: counted as `others`.
  struct Table {
    std::array<Count, 256> counts = {};
    uint64_t others = 0;
  };

  // Counts what the plugin below found, and lets the guest go on.
  void CountHits(int vcpu, watchsnap::WatchHits& hits);
  static void Add(Table& table, uint64_t address, uint64_t next_pc);

  watchsnap::DebugTarget& target_;
  const std::unique_ptr<watchsnap::DebugDevice> traps_;
  absl::Status no_traps_;
  std::vector<Table> tables_;  // by vCPU
};

}  // namespace embedder

#endif  // EMBEDDER_WRITER_COUNTS_H_
