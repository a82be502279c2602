// BpfMapsPart: all BPF maps of the guest and what is in them, as `maps` (schema.md): arrays and per-CPU
// arrays, hash tables of all kinds, storage of tasks and the like, struct_ops, and global sections as
// objects of their variables. Of other kinds, what they are.
//
// Keys and values are rendered by the map's BTF, which is copied out of the guest with the first capture
// that meets it; raw bytes where there is none.
//
// Threads and errors: as of every EvidencePart. What the limits cut is said in `degraded`, per map.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_PART_H_
#define WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_PART_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "debug/kernel/bpf_maps.h"
#include "debug/kernel/per_cpu.h"
#include "debug/kernel/task_reader.h"
#include "debug/symbols/kernel_symbols.h"
#include "debug/types/type_graph.h"
#include "snapshot/evidence/evidence_part.h"
#include "snapshot/parts/bpf_btf_cache.h"

namespace watchsnap {

class BpfMapsPart : public EvidencePart {
 public:
  // NotFound for a kernel without BPF.
  static absl::StatusOr<std::unique_ptr<BpfMapsPart>> Create(
      const KernelSymbols& symbols, uint64_t slide, std::shared_ptr<const TypeGraph> types,
      PerCpu per_cpu, const BpfLimits& limits = {});
  // `map_idr`: the run-time address of the kernel's variable.
  BpfMapsPart(std::shared_ptr<const TypeGraph> types, uint64_t map_idr, PerCpu per_cpu,
              const BpfLimits& limits = {});

  std::string_view Name() const override { return "bpf_maps"; }
  void Copy(const CaptureContext& context, MemoryReader& recorder) override;
  void Render(const CaptureContext& context, MemoryReader& memory, Report& report) override;

 private:
  friend class BpfMapRenderer;
  void TakeTypes(uint64_t btf, MemoryReader& recorder) const;
  // The types of a map's keys and values; null, and why, where there are none that can be used.
  std::shared_ptr<const TypeGraph> TypesOf(const BpfMap& map, MemoryReader& memory,
                                           std::string& why);

  const std::shared_ptr<const TypeGraph> kernel_types_;
  const BpfMaps maps_;
  const TaskReader tasks_;
  const BpfLimits limits_;
  BpfBtfCache btf_;
  BpfWalkSpace copy_space_;    // the leader's
  BpfWalkSpace render_space_;  // the renderer's
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_BPF_MAPS_PART_H_
