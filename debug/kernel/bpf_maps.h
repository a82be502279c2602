// BpfMaps: all BPF maps of the running kernel, found through map_idr, and what is in them. One walk for
// the frozen guest and for the evidence: whoever visits takes the values along, or renders them.
//
//   BpfMaps maps(*types, map_idr, per_cpu);                       // once
//   BpfWalkSpace space;                                           // once for each that walks
//   BpfBudget budget(limits);                                     // for each capture
//   maps.ForEach(reader, budget, [&](const BpfMap& map) {
//     BpfContents contents = maps.Visit(map, reader, budget, space, visitor);
//   });
//
// Limits are by entries and by bytes, of a map and of all; what they cut is in BpfContents, and the
// second walk over the same bytes is cut at the same place.
// Hostile memory: every list ends at a limit, at a pointer that was there before (a cycle), or at
// something that cannot be read; sizes are checked before they are multiplied.
//
// Threads: BpfMaps is immutable; a walk allocates nothing, space and budget are the caller's.
// Units: bytes, run-time KVAs. Sources: see bpf_layout.h; include/uapi/linux/bpf.h for the types.
#ifndef WATCHSNAP_DEBUG_KERNEL_BPF_MAPS_H_
#define WATCHSNAP_DEBUG_KERNEL_BPF_MAPS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "debug/kernel/bpf_layout.h"
#include "debug/kernel/per_cpu.h"
#include "debug/kernel/xarray_walk.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct BpfLimits {
  size_t max_maps = 512;
  uint64_t max_entries = 16'384;          // of one map
  uint64_t max_map_bytes = 2 << 20;       // of one map: values, keys, and the tables between them
  uint64_t max_total_bytes = 6 << 20;     // of all
  uint64_t max_btf_bytes = 4 << 20;       // of one program's types
};

// What a map is to the walk.
enum class BpfMapKind { kArray, kPerCpuArray, kHash, kPerCpuHash, kStorage, kStructOps, kOther };

struct BpfMap {
  uint64_t address = 0;
  uint32_t type = 0;  // BPF_MAP_TYPE_…
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  uint32_t max_entries = 0;
  uint32_t id = 0;
  uint64_t btf = 0;  // a struct btf; 0: none
  uint32_t key_type = 0;
  uint32_t value_type = 0;
  uint32_t vmlinux_value_type = 0;
  uint64_t elem_count = 0;  // a per-CPU s64; 0: none
  std::array<char, 16> name_bytes = {};

  std::string_view name() const;
  BpfMapKind kind() const;
};

// "hash", "percpu_array", …: BPF_MAP_TYPE_ without the prefix, in lower case; empty for a number that
// has no name here.
std::string_view BpfMapTypeName(uint32_t type);

// A struct btf: the types that a map's keys and values are of.
struct BpfBtf {
  uint64_t address = 0;
  uint64_t data = 0;
  uint32_t bytes = 0;
  uint32_t id = 0;
  uint64_t base = 0;       // another struct btf that it continues; 0: none
  bool is_kernel = false;  // vmlinux's or a module's
};

struct BpfEntry {
  absl::Span<const uint8_t> key;           // of a storage map none
  uint64_t owner = 0;                      // of a storage map: the task, inode, cgroup or socket
  absl::Span<const uint64_t> values;       // where they are: one, or one a CPU
  absl::Span<const uint8_t> value = {};    // the one, where it has been read already
};

class BpfVisitor {
 public:
  virtual ~BpfVisitor() = default;
  // `count` values one after the other from index 0, each `stride` bytes after the one before; of
  // them the first `bytes` are within the limits.
  virtual void Array(uint64_t kva, uint64_t stride, uint64_t count, uint64_t bytes) = 0;
  virtual void Entry(const BpfEntry& entry) = 0;
};

struct BpfContents {
  enum class Cut { kNo, kEntries, kMapBytes, kTotalBytes };
  Cut cut = Cut::kNo;
  uint64_t entries = 0;  // that were visited
  uint64_t total = 0;    // that there are, as far as is known: of a table that was cut as the kernel
                         // counts them, 0 where it does not
  uint64_t damaged = 0;  // lists that ended where they should not
  bool unreadable = false;  // the map's own structures are not there, or make no sense
};

// What may still be taken.
class BpfBudget {
 public:
  explicit BpfBudget(const BpfLimits& limits) : limits_(limits), total_(limits.max_total_bytes) {}
  const BpfLimits& limits() const { return limits_; }
  void BeginMap() { map_ = limits_.max_map_bytes; }
  uint64_t left() const { return map_ < total_ ? map_ : total_; }
  BpfContents::Cut reason() const {
    return map_ <= total_ ? BpfContents::Cut::kMapBytes : BpfContents::Cut::kTotalBytes;
  }
  // False, and nothing is spent, where it is more than what is left.
  bool Spend(uint64_t bytes) {
    if (bytes > left()) return false;
    map_ -= bytes;
    total_ -= bytes;
    return true;
  }

 private:
  const BpfLimits& limits_;
  uint64_t map_ = 0;
  uint64_t total_ = 0;
};

// Working space of a walk.
class BpfWalkSpace {
 public:
  explicit BpfWalkSpace(int cpus)
      : bytes(64 << 10), addresses(static_cast<size_t>(cpus < 1 ? 1 : cpus)) {}
  std::vector<uint8_t> bytes;
  std::vector<uint64_t> addresses;
};

class BpfMaps {
 public:
  struct Found {
    size_t maps = 0;
    bool limited = false;
    size_t damaged = 0;  // nodes of the index and maps that cannot be read
    bool unreadable = false;
  };

  // `map_idr`: the run-time address of the kernel's variable.
  BpfMaps(const TypeGraph& types, uint64_t map_idr, PerCpu per_cpu)
      : layout_(types), maps_(types), map_idr_(map_idr), per_cpu_(std::move(per_cpu)) {}

  Found ForEach(MemoryReader& reader, const BpfLimits& limits,
                absl::FunctionRef<void(const BpfMap&)> take) const;
  // Of a map that ForEach gave; BeginMap is called on `budget`.
  BpfContents Visit(const BpfMap& map, MemoryReader& reader, BpfBudget& budget,
                    BpfWalkSpace& space, BpfVisitor& visitor) const;
  // False where it cannot be read.
  bool ReadBtf(MemoryReader& reader, uint64_t btf, BpfBtf& out) const;

  const BpfLayout& layout() const { return layout_; }
  int cpus() const { return per_cpu_.cpus(); }

 private:
  struct Visiting;
  bool ReadMap(MemoryReader& reader, uint64_t address, BpfMap& map) const;
  void VisitArray(Visiting& visiting) const;
  void VisitPerCpuArray(Visiting& visiting) const;
  void VisitTable(Visiting& visiting, bool per_cpu) const;
  void VisitStorage(Visiting& visiting) const;
  void VisitStructOps(Visiting& visiting) const;
  // Walks the table of lists at `buckets`; `visit(element)` says where the next is, or stops it all.
  template <typename VisitElement>
  void VisitLists(Visiting& visiting, uint64_t buckets, uint64_t count, uint64_t bucket_bytes,
                  uint64_t first_at, VisitElement visit) const;
  uint64_t CountByKernel(const BpfMap& map, MemoryReader& reader) const;

  const BpfLayout layout_;
  const XarrayWalk maps_;
  const uint64_t map_idr_;
  const PerCpu per_cpu_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_BPF_MAPS_H_
