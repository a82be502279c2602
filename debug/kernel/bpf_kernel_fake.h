// A kernel with BPF maps, in small: its types (other offsets than any real kernel's) and its memory, put
// together by hand for tests. What is wrong in it is meant to be.
//
//   BpfKernelFake kernel;
//   const uint64_t map = kernel.AddHash("counters", 4, 8);
//   kernel.AddElement(map, Bytes(7u), Bytes(uint64_t{70}));
//   BpfMaps maps(*kernel.types(), kernel.map_idr(), kernel.per_cpu());
#ifndef WATCHSNAP_DEBUG_KERNEL_BPF_KERNEL_FAKE_H_
#define WATCHSNAP_DEBUG_KERNEL_BPF_KERNEL_FAKE_H_

#include <linux/bpf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "debug/kernel/memory_fake.h"
#include "debug/kernel/per_cpu.h"
#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

template <typename T>
std::vector<uint8_t> Bytes(T value) {
  std::vector<uint8_t> bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

class BpfKernelFake {
 public:
  // Offsets of the fake's structs.
  static constexpr uint64_t kMapBytes = 96, kValueAt = 104, kTableAt = 96, kKeyAt = 32,
                            kStorageDataAt = 40, kStructOpsAt = 128, kSlotsAt = 8;
  static constexpr uint64_t kOffsets[2] = {0x0000'0100'0000'0000, 0x0000'0200'0000'0000};

  BpfKernelFake() : btf_(MakeTypes()), types_(*ReadBtf(btf_.Bytes())) {
    memory.Map(kIdr, 24);
    SetRoot(0);
  }

  const std::shared_ptr<const TypeGraph>& types() const { return types_; }
  const BtfBuilder& btf() const { return btf_; }
  uint64_t map_idr() const { return kIdr; }
  PerCpu per_cpu() const { return PerCpu({kOffsets[0], kOffsets[1]}); }

  // Fresh, zeroed memory that touches no other.
  uint64_t Allocate(uint64_t bytes) {
    const uint64_t at = next_;
    next_ += (bytes + 0x1fff) & ~uint64_t{0xfff};
    memory.Map(at, bytes);
    return at;
  }
  // In every CPU's memory; returns the per-CPU address.
  uint64_t AllocatePerCpu(uint64_t bytes) {
    const uint64_t at = Allocate(8);
    for (const uint64_t offset : kOffsets) memory.Map(at + offset, bytes);
    return at;
  }

  void SetRoot(uint64_t entry) { memory.Put<uint64_t>(kIdr + 8, entry); }
  uint64_t AddNode(uint8_t shift, const std::map<int, uint64_t>& slots) {
    const uint64_t node = Allocate(kSlotsAt + 64 * 8);
    memory.Put<uint8_t>(node, shift);
    for (const auto& [slot, entry] : slots) {
      memory.Put<uint64_t>(node + kSlotsAt + 8 * static_cast<uint64_t>(slot), entry);
    }
    return node | 2;
  }

  // A map of any type, in the index.
  uint64_t AddMap(std::string_view name, uint32_t type, uint32_t key_size, uint32_t value_size,
                  uint32_t max_entries, uint64_t bytes = 512) {
    const uint64_t map = Allocate(bytes);
    memory.Put<uint32_t>(map + 8, type);
    memory.Put<uint32_t>(map + 12, key_size);
    memory.Put<uint32_t>(map + 16, value_size);
    memory.Put<uint32_t>(map + 20, max_entries);
    memory.Put<uint32_t>(map + 24, static_cast<uint32_t>(maps_.size()) + 1);
    memory.PutBytes(map + 56, name.data(), std::min<size_t>(name.size(), 16));
    maps_[static_cast<int>(maps_.size()) + 1] = map;
    SetRoot(AddNode(0, maps_));
    return map;
  }
  uint64_t AddArray(std::string_view name, uint32_t value_size, uint32_t max_entries) {
    const uint64_t stride = (value_size + 7) & ~7u;
    const uint64_t map = AddMap(name, BPF_MAP_TYPE_ARRAY, 4, value_size, max_entries,
                                kValueAt + stride * max_entries);
    memory.Put<uint32_t>(map + 96, static_cast<uint32_t>(stride));
    return map;
  }
  // What its keys and values are, by ids of the BTF.
  void SetTypes(uint64_t map, uint64_t btf, uint32_t key, uint32_t value) {
    memory.Put<uint64_t>(map + 32, btf);
    memory.Put<uint32_t>(map + 40, key);
    memory.Put<uint32_t>(map + 44, value);
  }
  uint64_t AddBtf(const BtfBuilder& program, uint32_t id, uint64_t base = 0) {
    const std::vector<uint8_t> bytes = program.Bytes();
    const uint64_t data = Allocate(bytes.size());
    memory.PutBytes(data, bytes.data(), bytes.size());
    const uint64_t btf = Allocate(40);
    memory.Put<uint64_t>(btf, data);
    memory.Put<uint32_t>(btf + 8, static_cast<uint32_t>(bytes.size()));
    memory.Put<uint32_t>(btf + 12, id);
    memory.Put<uint64_t>(btf + 16, base);
    return btf;
  }
  uint64_t AddKernelBtf() {
    const uint64_t btf = Allocate(40);
    memory.Put<uint8_t>(btf + 24, 1);
    return btf;
  }

  uint64_t AddTable(std::string_view name, uint32_t type, uint32_t key_size, uint32_t value_size,
                    uint32_t max_entries = 64, uint32_t buckets = 4) {
    const uint64_t map = AddMap(name, type, key_size, value_size, max_entries);
    const uint64_t table = Allocate(16 * buckets);
    for (uint32_t i = 0; i < buckets; ++i) memory.Put<uint64_t>(table + 16 * i, 2 * i + 1);
    memory.Put<uint64_t>(map + kTableAt, table);
    memory.Put<uint32_t>(map + kTableAt + 8, buckets);
    return map;
  }
  // Before the first of a bucket's list; returns the element.
  uint64_t AddElement(uint64_t map, uint32_t bucket, const std::vector<uint8_t>& key,
                      const std::vector<uint8_t>& value) {
    const uint64_t value_at = kKeyAt + ((key.size() + 7) & ~size_t{7});
    const uint64_t element = Allocate(value_at + value.size());
    const uint64_t first = FirstAt(map, bucket);
    uint64_t next = 0;
    memory.Load(first, next);
    memory.Put<uint64_t>(element, next);
    memory.PutBytes(element + kKeyAt, key.data(), key.size());
    if (!value.empty()) memory.PutBytes(element + value_at, value.data(), value.size());
    memory.Put<uint64_t>(first, element);
    return element;
  }
  uint64_t FirstAt(uint64_t map, uint32_t bucket) {
    uint64_t table = 0;
    memory.Load(map + kTableAt, table);
    return table + 16 * bucket;
  }

  uint64_t AddStorage(std::string_view name, uint32_t type, uint32_t value_size) {
    const uint64_t map = AddMap(name, type, 4, value_size, 0);
    memory.Put<uint64_t>(map + kTableAt, Allocate(16 * 2));
    memory.Put<uint32_t>(map + kTableAt + 8, 1);  // 2 buckets
    return map;
  }
  void AddStored(uint64_t map, uint32_t bucket, uint64_t owner, const std::vector<uint8_t>& value) {
    const uint64_t storage = Allocate(16);
    memory.Put<uint64_t>(storage + 8, owner);
    const uint64_t element = Allocate(kStorageDataAt + value.size());
    const uint64_t first = FirstAt(map, bucket);
    uint64_t next = 0;
    memory.Load(first, next);
    memory.Put<uint64_t>(element + 8, next);
    memory.Put<uint64_t>(element + 24, storage);
    memory.PutBytes(element + kStorageDataAt, value.data(), value.size());
    memory.Put<uint64_t>(first, element + 8);
  }
  uint64_t AddTask(int32_t pid, std::string_view comm) {
    const uint64_t task = Allocate(32);
    memory.Put<int32_t>(task, pid);
    memory.PutBytes(task + 8, comm.data(), comm.size());
    return task;
  }

  MemoryFake memory;

 private:
  static constexpr uint64_t kIdr = 0xffff'ffff'8319'3000;

  static BtfBuilder MakeTypes() {
    BtfBuilder btf;
    const uint32_t u8 = btf.Int("unsigned char", 1);
    const uint32_t u32 = btf.Int("unsigned int", 4);
    const uint32_t u64 = btf.Int("unsigned long", 8);
    const uint32_t character = btf.Int("char", 1, BTF_INT_CHAR);
    const uint32_t pointer = btf.Pointer(0);
    const uint32_t xarray = btf.Struct("xarray", 16, {{"xa_head", pointer, 64}});
    btf.Struct("idr", 24, {{"idr_rt", xarray, 0}, {"idr_base", u32, 128}});
    btf.Struct("xa_node", 520,
               {{"shift", u8, 0}, {"slots", btf.Array(pointer, 64), kSlotsAt * 8}});
    btf.Struct("bpf_map", kMapBytes,
               {{"ops", pointer, 0},
                {"map_type", u32, 64},
                {"key_size", u32, 96},
                {"value_size", u32, 128},
                {"max_entries", u32, 160},
                {"id", u32, 192},
                {"map_flags", u32, 224},
                {"btf", pointer, 256},
                {"btf_key_type_id", u32, 320},
                {"btf_value_type_id", u32, 352},
                {"btf_vmlinux_value_type_id", u32, 384},
                {"name", btf.Array(character, 16), 448},
                {"elem_count", pointer, 576}});
    btf.Struct("bpf_array", kValueAt,
               {{"elem_size", u32, kMapBytes * 8},
                {"value", btf.Array(character, 0), kValueAt * 8},
                {"pptrs", btf.Array(pointer, 0), kValueAt * 8}});
    const uint32_t head = btf.Struct("list_nulls_head", 8, {{"first", pointer, 0}});
    // Another of the name, as a kernel has.
    btf.Struct("bucket", 24, {{"head", u64, 0}});
    const uint32_t bucket = btf.Struct("bucket", 16, {{"head", head, 0}, {"lock", u32, 64}});
    btf.Struct("bpf_htab", 112,
               {{"buckets", btf.Pointer(bucket), kTableAt * 8},
                {"n_buckets", u32, kTableAt * 8 + 64}});
    const uint32_t node = btf.Struct("list_nulls_node", 16, {{"next", pointer, 0}});
    btf.Struct("htab_elem", kKeyAt,
               {{"hash_node", node, 0}, {"hash", u32, 192},
                {"key", btf.Array(character, 0), kKeyAt * 8}});
    const uint32_t storage_bucket =
        btf.Struct("bpf_local_storage_map_bucket", 16, {{"list", head, 0}});
    btf.Struct("bpf_local_storage_map", 112,
               {{"buckets", btf.Pointer(storage_bucket), kTableAt * 8},
                {"bucket_log", u32, kTableAt * 8 + 64}});
    const uint32_t data =
        btf.Struct("bpf_local_storage_data", 8,
                   {{"smap", pointer, 0}, {"data", btf.Array(character, 0), 64}});
    btf.Struct("bpf_local_storage_elem", kStorageDataAt,
               {{"map_node", node, 64}, {"local_storage", pointer, 192}, {"sdata", data, 256}});
    btf.Struct("bpf_local_storage", 16, {{"owner", pointer, 64}});
    btf.Struct("bpf_struct_ops_map", 136, {{"kvalue", u64, kStructOpsAt * 8}});
    btf.Struct("btf", 40,
               {{"data", pointer, 0},
                {"data_size", u32, 64},
                {"id", u32, 96},
                {"base_btf", pointer, 128},
                {"kernel_btf", u8, 192}});
    const uint32_t s32 = btf.Int("int", 4, BTF_INT_SIGNED);
    btf.Struct("task_struct", 32, {{"pid", s32, 0}, {"comm", btf.Array(character, 16), 64}});
    btf.Struct("bpf_struct_ops_scheduler", 16, {{"state", u32, 0}, {"enqueue", pointer, 64}});
    return btf;
  }

  const BtfBuilder btf_;
  const std::shared_ptr<const TypeGraph> types_;
  uint64_t next_ = 0xffff'8880'0100'0000;
  std::map<int, uint64_t> maps_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_BPF_KERNEL_FAKE_H_
