#include "debug/kernel/bpf_maps.h"

#include <linux/bpf.h>

#include <algorithm>
#include <cstring>

namespace watchsnap {
namespace {

constexpr uint64_t kUpperHalf = uint64_t{1} << 63;
// A list of the kernel's hash tables ends with a number marked by its lowest bit (list_nulls.h).
constexpr uint64_t kListEnd = 1;
constexpr uint64_t kWord = 8;
// Beyond what the kernel allows: n_buckets is at most 2^31, a table that is walked far smaller.
constexpr uint64_t kMaxBuckets = uint64_t{1} << 31;
constexpr uint64_t kBucketsAtOnce = 4096;  // bytes

uint64_t RoundUp8(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

bool IsKernelPointer(uint64_t pointer) { return pointer >= kUpperHalf; }

// Tells a list that runs into itself (Brent's algorithm): remembers one element, and another one ever
// later.
class CycleGuard {
 public:
  bool Closes(uint64_t element) {
    if (element == remembered_) return true;
    if (++steps_ == until_) {
      remembered_ = element;
      steps_ = 0;
      until_ *= 2;
    }
    return false;
  }

 private:
  uint64_t remembered_ = 0;
  uint64_t steps_ = 0;
  uint64_t until_ = 1;
};

}  // namespace

std::string_view BpfMap::name() const {
  return std::string_view(name_bytes.data(), strnlen(name_bytes.data(), name_bytes.size()));
}

std::string_view BpfMapTypeName(uint32_t type) {
  // In the order of enum bpf_map_type, which is part of the kernel's interface.
  constexpr std::string_view kNames[] = {
      "unspec",         "hash",           "array",          "prog_array",
      "perf_event_array", "percpu_hash",  "percpu_array",   "stack_trace",
      "cgroup_array",   "lru_hash",       "lru_percpu_hash", "lpm_trie",
      "array_of_maps",  "hash_of_maps",   "devmap",         "sockmap",
      "cpumap",         "xskmap",         "sockhash",       "cgroup_storage",
      "reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack",
      "sk_storage",     "devmap_hash",    "struct_ops",     "ringbuf",
      "inode_storage",  "task_storage",   "bloom_filter",   "user_ringbuf",
      "cgrp_storage",   "arena",          "insn_array",     "rhash"};
  return type < std::size(kNames) ? kNames[type] : std::string_view();
}

BpfMapKind BpfMap::kind() const {
  constexpr uint32_t kCgroupStorageOfTasks = 32;  // BPF_MAP_TYPE_CGRP_STORAGE, newer than some headers
  switch (type) {
    case BPF_MAP_TYPE_ARRAY: return BpfMapKind::kArray;
    case BPF_MAP_TYPE_PERCPU_ARRAY: return BpfMapKind::kPerCpuArray;
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_LRU_HASH: return BpfMapKind::kHash;
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LRU_PERCPU_HASH: return BpfMapKind::kPerCpuHash;
    case BPF_MAP_TYPE_TASK_STORAGE:
    case BPF_MAP_TYPE_INODE_STORAGE:
    case BPF_MAP_TYPE_SK_STORAGE:
    case kCgroupStorageOfTasks: return BpfMapKind::kStorage;
    case BPF_MAP_TYPE_STRUCT_OPS: return BpfMapKind::kStructOps;
  }
  return BpfMapKind::kOther;
}

// One map on its way.
struct BpfMaps::Visiting {
  const BpfMap& map;
  MemoryReader& reader;
  BpfBudget& budget;
  BpfWalkSpace& space;
  BpfVisitor& visitor;
  BpfContents contents = {};

  bool stopped() const { return contents.cut != BpfContents::Cut::kNo || contents.unreadable; }
  // True where the entry is within the limits, and charges it.
  bool Admit(uint64_t bytes) {
    if (contents.entries == budget.limits().max_entries) {
      contents.cut = BpfContents::Cut::kEntries;
      return false;
    }
    if (!budget.Spend(bytes)) {
      contents.cut = budget.reason();
      return false;
    }
    ++contents.entries;
    return true;
  }
};

BpfMaps::Found BpfMaps::ForEach(MemoryReader& reader, const BpfLimits& limits,
                                absl::FunctionRef<void(const BpfMap&)> take) const {
  Found found;
  uint64_t head = 0;
  if (!maps_.known() || !layout_.map_type.found() || layout_.map_bytes == 0 ||
      !layout_.idr_head.Load(reader, map_idr_, head)) {
    found.unreadable = true;
    return found;
  }
  const XarrayWalk::Outcome walked =
      maps_.ForEach(reader, head, limits.max_maps, [&](uint64_t pointer) {
        BpfMap map;
        if (!ReadMap(reader, pointer, map)) {
          ++found.damaged;
          return;
        }
        ++found.maps;
        take(map);
      });
  found.limited = walked.limited;
  found.damaged += walked.damaged_nodes;
  return found;
}

bool BpfMaps::ReadMap(MemoryReader& reader, uint64_t address, BpfMap& map) const {
  uint8_t bytes[1024];
  const auto object = absl::MakeSpan(bytes, layout_.map_bytes);
  if (!IsKernelPointer(address) || !reader.Read(address, object)) return false;
  uint64_t value = 0;
  const auto number = [&](const StructField& field, auto& out) {
    if (field.From(object, value)) out = static_cast<std::remove_reference_t<decltype(out)>>(value);
  };
  map.address = address;
  number(layout_.map_type, map.type);
  number(layout_.key_size, map.key_size);
  number(layout_.value_size, map.value_size);
  number(layout_.max_entries, map.max_entries);
  number(layout_.map_id, map.id);
  number(layout_.map_btf, map.btf);
  number(layout_.key_type, map.key_type);
  number(layout_.value_type, map.value_type);
  number(layout_.vmlinux_value_type, map.vmlinux_value_type);
  number(layout_.elem_count, map.elem_count);
  const StructField& name = layout_.map_name;
  if (name.found() && name.end() <= object.size()) {
    std::memcpy(map.name_bytes.data(), bytes + name.offset,
                std::min<size_t>(name.size, map.name_bytes.size()));
  }
  return true;
}

bool BpfMaps::ReadBtf(MemoryReader& reader, uint64_t btf, BpfBtf& out) const {
  uint64_t bytes = 0, id = 0, is_kernel = 0;
  out.address = btf;
  if (!IsKernelPointer(btf) || !layout_.btf_data.Load(reader, btf, out.data) ||
      !layout_.btf_data_size.Load(reader, btf, bytes) || !layout_.btf_id.Load(reader, btf, id)) {
    return false;
  }
  out.bytes = static_cast<uint32_t>(bytes);
  out.id = static_cast<uint32_t>(id);
  layout_.btf_base.Load(reader, btf, out.base);
  out.is_kernel = layout_.btf_is_kernel.Load(reader, btf, is_kernel) && is_kernel != 0;
  return true;
}

BpfContents BpfMaps::Visit(const BpfMap& map, MemoryReader& reader, BpfBudget& budget,
                           BpfWalkSpace& space, BpfVisitor& visitor) const {
  budget.BeginMap();
  Visiting visiting{
      .map = map, .reader = reader, .budget = budget, .space = space, .visitor = visitor};
  switch (map.kind()) {
    case BpfMapKind::kArray: VisitArray(visiting); break;
    case BpfMapKind::kPerCpuArray: VisitPerCpuArray(visiting); break;
    case BpfMapKind::kHash: VisitTable(visiting, /*per_cpu=*/false); break;
    case BpfMapKind::kPerCpuHash: VisitTable(visiting, /*per_cpu=*/true); break;
    case BpfMapKind::kStorage: VisitStorage(visiting); break;
    case BpfMapKind::kStructOps: VisitStructOps(visiting); break;
    case BpfMapKind::kOther: break;
  }
  return visiting.contents;
}

void BpfMaps::VisitArray(Visiting& visiting) const {
  const BpfMap& map = visiting.map;
  BpfContents& contents = visiting.contents;
  contents.total = map.max_entries;
  if (!layout_.array_value.found() || map.value_size == 0) {
    contents.unreadable = true;
    return;
  }
  uint64_t stride = RoundUp8(map.value_size);
  // What the kernel itself steps by; it must at least hold a value.
  uint64_t elem_size = 0;
  if (layout_.array_elem_size.Load(visiting.reader, map.address, elem_size) &&
      elem_size >= map.value_size) {
    stride = elem_size;
  }
  uint64_t count = map.max_entries;
  if (count > visiting.budget.limits().max_entries) {
    count = visiting.budget.limits().max_entries;
    contents.cut = BpfContents::Cut::kEntries;
  }
  // 2^32 values of 2^32 bytes fit into 64 bits.
  uint64_t bytes = count == 0 ? 0 : (count - 1) * stride + map.value_size;
  const uint64_t room = visiting.budget.left();
  if (bytes > room) {
    contents.cut = visiting.budget.reason();
    bytes = room;
    count = std::min(count, room / stride + (room % stride != 0 ? 1 : 0));
  }
  visiting.budget.Spend(bytes);
  contents.entries = count;
  if (count != 0) {
    visiting.visitor.Array(map.address + layout_.array_value.offset, stride, count, bytes);
  }
}

void BpfMaps::VisitPerCpuArray(Visiting& visiting) const {
  const BpfMap& map = visiting.map;
  BpfContents& contents = visiting.contents;
  contents.total = map.max_entries;
  if (!layout_.array_per_cpu.found()) {
    contents.unreadable = true;
    return;
  }
  const auto cpus = static_cast<size_t>(per_cpu_.cpus());
  const uint64_t pointers = map.address + layout_.array_per_cpu.offset;
  const uint64_t at_once = kBucketsAtOnce / kWord;
  const auto chunk = absl::MakeSpan(visiting.space.bytes).first(kBucketsAtOnce);
  for (uint64_t index = 0; index < map.max_entries && !visiting.stopped(); index += at_once) {
    const uint64_t here = std::min<uint64_t>(at_once, map.max_entries - index);
    if (!visiting.reader.Read(pointers + index * kWord, chunk.first(here * kWord))) {
      contents.unreadable = true;
      return;
    }
    for (uint64_t i = 0; i < here; ++i) {
      if (!visiting.Admit(kWord + cpus * map.value_size)) return;
      uint64_t pointer = 0;
      std::memcpy(&pointer, chunk.data() + i * kWord, kWord);
      for (size_t cpu = 0; cpu < cpus; ++cpu) {
        visiting.space.addresses[cpu] = per_cpu_.AddressOf(static_cast<int>(cpu), pointer);
      }
      const auto key = static_cast<uint32_t>(index + i);
      visiting.visitor.Entry(
          {.key = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&key), sizeof key),
           .values = absl::MakeConstSpan(visiting.space.addresses).first(cpus)});
    }
  }
}

template <typename VisitElement>
void BpfMaps::VisitLists(Visiting& visiting, uint64_t buckets, uint64_t count,
                         uint64_t bucket_bytes, uint64_t first_at, VisitElement visit) const {
  // The beginnings of lists; elements are read behind them.
  const uint64_t at_once = kBucketsAtOnce / bucket_bytes;
  uint8_t table[kBucketsAtOnce];
  for (uint64_t index = 0; index < count; index += at_once) {
    const uint64_t bytes = std::min(at_once, count - index) * bucket_bytes;
    if (!visiting.budget.Spend(bytes)) {
      visiting.contents.cut = visiting.budget.reason();
      return;
    }
    if (!visiting.reader.Read(buckets + index * bucket_bytes, absl::MakeSpan(table, bytes))) {
      visiting.contents.unreadable = true;
      return;
    }
    for (uint64_t at = first_at; at + kWord <= bytes; at += bucket_bytes) {
      uint64_t element = 0;
      std::memcpy(&element, table + at, kWord);
      CycleGuard cycle;
      while (element != 0 && (element & kListEnd) == 0) {
        if (!IsKernelPointer(element) || cycle.Closes(element)) {
          ++visiting.contents.damaged;
          break;
        }
        uint64_t next = 0;
        if (!visit(element, next)) return;  // cut
        element = next;
      }
    }
  }
}

void BpfMaps::VisitTable(Visiting& visiting, bool per_cpu) const {
  const BpfMap& map = visiting.map;
  const BpfLayout& layout = layout_;
  BpfContents& contents = visiting.contents;
  uint64_t buckets = 0, count = 0;
  if (!layout.bucket_first.found() || !layout.elem_next.found() || !layout.elem_key.found() ||
      layout.bucket_bytes < kWord || layout.bucket_bytes > kBucketsAtOnce ||
      !layout.buckets.Load(visiting.reader, map.address, buckets) ||
      !layout.n_buckets.Load(visiting.reader, map.address, count) || !IsKernelPointer(buckets) ||
      count > kMaxBuckets) {
    contents.unreadable = true;
    return;
  }
  // An element: a head, the key, the value or a pointer to the CPUs' values.
  const uint64_t value_at = layout.elem_key.offset + RoundUp8(map.key_size);
  const uint64_t inline_bytes = per_cpu ? kWord : map.value_size;
  const uint64_t head_bytes = per_cpu ? value_at + kWord : value_at;
  const absl::Span<uint8_t> space = absl::MakeSpan(visiting.space.bytes);
  if (head_bytes > space.size() || layout.elem_next.end() > layout.elem_key.offset) {
    contents.unreadable = true;
    return;
  }
  const bool whole = value_at + inline_bytes <= space.size();
  const auto element_bytes = space.first(whole ? value_at + inline_bytes : head_bytes);
  const auto cpus = static_cast<size_t>(per_cpu_.cpus());
  const uint64_t charge = per_cpu ? head_bytes + cpus * map.value_size : value_at + map.value_size;
  VisitLists(visiting, buckets, count, layout.bucket_bytes, layout.bucket_first.offset,
             [&](uint64_t node, uint64_t& next) {
               // hash_node.next is the first member of the node that the lists link.
               const uint64_t element = node - layout.elem_next.offset;
               if (!visiting.Admit(charge)) return false;
               if (!visiting.reader.Read(element, element_bytes) ||
                   !layout.elem_next.From(element_bytes, next)) {
                 --contents.entries;
                 ++contents.damaged;
                 return true;
               }
               BpfEntry entry;
               entry.key = element_bytes.subspan(layout.elem_key.offset, map.key_size);
               visiting.space.addresses[0] = element + value_at;
               size_t values = 1;
               if (per_cpu) {
                 uint64_t pointer = 0;
                 std::memcpy(&pointer, element_bytes.data() + value_at, kWord);
                 for (size_t cpu = 0; cpu < cpus; ++cpu) {
                   visiting.space.addresses[cpu] =
                       per_cpu_.AddressOf(static_cast<int>(cpu), pointer);
                 }
                 values = cpus;
               } else if (whole) {
                 entry.value = element_bytes.subspan(value_at, map.value_size);
               }
               entry.values = absl::MakeConstSpan(visiting.space.addresses).first(values);
               visiting.visitor.Entry(entry);
               return true;
             });
  contents.total = contents.cut == BpfContents::Cut::kNo ? contents.entries
                                                         : CountByKernel(map, visiting.reader);
}

uint64_t BpfMaps::CountByKernel(const BpfMap& map, MemoryReader& reader) const {
  if (map.elem_count == 0) return 0;
  int64_t sum = 0;
  for (int cpu = 0; cpu < per_cpu_.cpus(); ++cpu) {
    int64_t part = 0;
    if (!reader.Load(per_cpu_.AddressOf(cpu, map.elem_count), part)) return 0;
    // Wraps rather than overflows, whatever the guest wrote there.
    sum = static_cast<int64_t>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(part));
  }
  return sum < 0 ? 0 : static_cast<uint64_t>(sum);
}

void BpfMaps::VisitStorage(Visiting& visiting) const {
  const BpfMap& map = visiting.map;
  const BpfLayout& layout = layout_;
  BpfContents& contents = visiting.contents;
  uint64_t buckets = 0, log = 0;
  if (!layout.storage_bucket_first.found() || !layout.storage_map_node.found() ||
      !layout.storage_next.found() || !layout.storage_owner_of.found() ||
      !layout.storage_data.found() || layout.storage_bucket_bytes < kWord ||
      layout.storage_bucket_bytes > kBucketsAtOnce ||
      !layout.storage_buckets.Load(visiting.reader, map.address, buckets) ||
      !layout.storage_bucket_log.Load(visiting.reader, map.address, log) ||
      !IsKernelPointer(buckets) || log > 31) {
    contents.unreadable = true;
    return;
  }
  const uint64_t data_at = layout.storage_data.offset;
  const absl::Span<uint8_t> space = absl::MakeSpan(visiting.space.bytes);
  if (std::max(layout.storage_next.end(), layout.storage_owner_of.end()) > data_at ||
      data_at > space.size()) {
    contents.unreadable = true;
    return;
  }
  const bool whole = data_at + map.value_size <= space.size();
  const auto element_bytes = space.first(whole ? data_at + map.value_size : data_at);
  VisitLists(visiting, buckets, uint64_t{1} << log, layout.storage_bucket_bytes,
             layout.storage_bucket_first.offset, [&](uint64_t node, uint64_t& next) {
               const uint64_t element = node - layout.storage_map_node.offset;
               if (!visiting.Admit(data_at + map.value_size)) return false;
               uint64_t storage = 0;
               if (!visiting.reader.Read(element, element_bytes) ||
                   !layout.storage_next.From(element_bytes, next) ||
                   !layout.storage_owner_of.From(element_bytes, storage)) {
                 --contents.entries;
                 ++contents.damaged;
                 return true;
               }
               BpfEntry entry;
               if (IsKernelPointer(storage)) {
                 layout.storage_owner.Load(visiting.reader, storage, entry.owner);
               }
               visiting.space.addresses[0] = element + data_at;
               entry.values = absl::MakeConstSpan(visiting.space.addresses).first(1);
               if (whole) entry.value = element_bytes.subspan(data_at, map.value_size);
               visiting.visitor.Entry(entry);
               return true;
             });
  contents.total = contents.cut == BpfContents::Cut::kNo ? contents.entries : 0;
}

void BpfMaps::VisitStructOps(Visiting& visiting) const {
  const BpfMap& map = visiting.map;
  BpfContents& contents = visiting.contents;
  contents.total = 1;
  if (!layout_.struct_ops_value.found() || map.value_size == 0) {
    contents.unreadable = true;
    return;
  }
  const uint64_t bytes = std::min<uint64_t>(map.value_size, visiting.budget.left());
  if (bytes < map.value_size) contents.cut = visiting.budget.reason();
  visiting.budget.Spend(bytes);
  if (bytes == 0) return;
  contents.entries = 1;
  visiting.visitor.Array(map.address + layout_.struct_ops_value.offset, map.value_size, 1, bytes);
}

}  // namespace watchsnap
