// Where the kernel's BPF map structures keep what a walk over them needs: members, by the kernel's own
// types. Found once, read by bpf_maps.h.
//
// Threads: immutable. Errors: none; what a kernel lacks is a field that is not found, and with it only
// the maps of the kinds that need it. Sources: Linux include/linux/bpf.h, include/linux/btf.h,
// include/linux/bpf_local_storage.h, kernel/bpf/{arraymap,hashtab,btf,bpf_struct_ops}.c.
#ifndef WATCHSNAP_DEBUG_KERNEL_BPF_LAYOUT_H_
#define WATCHSNAP_DEBUG_KERNEL_BPF_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "debug/kernel/struct_field.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct BpfLayout {
  explicit BpfLayout(const TypeGraph& types);

  // struct idr
  StructField idr_head;
  // struct bpf_map; `map_bytes` from its start hold all of them.
  StructField map_type, key_size, value_size, max_entries, map_flags, map_id, map_btf, key_type,
      value_type, vmlinux_value_type, map_name, elem_count;
  uint32_t map_bytes = 0;
  // struct bpf_array
  StructField array_elem_size, array_value, array_per_cpu;
  // struct bpf_htab, struct bucket, struct htab_elem
  StructField buckets, n_buckets, bucket_first, elem_next, elem_key;
  uint64_t bucket_bytes = 0;
  // struct bpf_local_storage_map and what hangs from it
  StructField storage_buckets, storage_bucket_log, storage_bucket_first, storage_map_node,
      storage_next, storage_owner_of, storage_data, storage_owner;
  uint64_t storage_bucket_bytes = 0;
  // struct bpf_struct_ops_map
  StructField struct_ops_value;
  // struct btf
  StructField btf_data, btf_data_size, btf_id, btf_base, btf_is_kernel;

  // What this kernel does not have.
  std::vector<std::string> missing;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_KERNEL_BPF_LAYOUT_H_
