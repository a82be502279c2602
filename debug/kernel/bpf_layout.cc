#include "debug/kernel/bpf_layout.h"

#include <algorithm>

namespace watchsnap {
namespace {

// Read at once, so it must stay small; struct bpf_map has 280 bytes in 7.3.
constexpr uint64_t kMaxMapBytes = 1024;

}  // namespace

BpfLayout::BpfLayout(const TypeGraph& types) {
  const auto done = [this](const StructFields& fields) {
    missing.insert(missing.end(), fields.missing().begin(), fields.missing().end());
  };

  StructFields idr(types, "struct idr");
  idr_head = idr.Find("idr_rt.xa_head");
  done(idr);

  StructFields map(types, "struct bpf_map");
  map_type = map.Find("map_type");
  key_size = map.Find("key_size");
  value_size = map.Find("value_size");
  max_entries = map.Find("max_entries");
  map_flags = map.Find("map_flags");
  map_id = map.Find("id");
  map_btf = map.Find("btf");
  key_type = map.Find("btf_key_type_id");
  value_type = map.Find("btf_value_type_id");
  vmlinux_value_type = map.Find("btf_vmlinux_value_type_id");
  map_name = map.Find("name");
  elem_count = map.Find("elem_count");
  uint64_t end = 0;
  for (const StructField* field :
       {&map_type, &key_size, &value_size, &max_entries, &map_flags, &map_id, &map_btf, &key_type,
        &value_type, &vmlinux_value_type, &map_name, &elem_count}) {
    if (field->found() && field->end() <= kMaxMapBytes) end = std::max(end, field->end());
  }
  map_bytes = static_cast<uint32_t>(end);
  done(map);

  StructFields array(types, "struct bpf_array");
  array_elem_size = array.Find("elem_size");
  array_value = array.Find("value");
  array_per_cpu = array.Find("pptrs");
  done(array);

  // Several structs of a kernel are called "bucket": it is the one that the table points to.
  StructFields table(types, "struct bpf_htab");
  buckets = table.Find("buckets");
  n_buckets = table.Find("n_buckets");
  StructFields bucket(types, PointeeOf(types, table.type(), "buckets"));
  bucket_first = bucket.Find("head.first");
  bucket_bytes = bucket.size();
  StructFields element(types, "struct htab_elem");
  elem_next = element.Find("hash_node.next");
  elem_key = element.Find("key");
  done(table);
  done(bucket);
  done(element);

  StructFields storage(types, "struct bpf_local_storage_map");
  storage_buckets = storage.Find("buckets");
  storage_bucket_log = storage.Find("bucket_log");
  StructFields storage_bucket(types, PointeeOf(types, storage.type(), "buckets"));
  storage_bucket_first = storage_bucket.Find("list.first");
  storage_bucket_bytes = storage_bucket.size();
  StructFields stored(types, "struct bpf_local_storage_elem");
  storage_map_node = stored.Find("map_node");
  storage_next = stored.Find("map_node.next");
  storage_owner_of = stored.Find("local_storage");
  storage_data = stored.Find("sdata.data");
  StructFields owner(types, "struct bpf_local_storage");
  storage_owner = owner.Find("owner");
  done(storage);
  done(storage_bucket);
  done(stored);
  done(owner);

  StructFields struct_ops(types, "struct bpf_struct_ops_map");
  struct_ops_value = struct_ops.Find("kvalue");
  done(struct_ops);

  StructFields btf(types, "struct btf");
  btf_data = btf.Find("data");
  btf_data_size = btf.Find("data_size");
  btf_id = btf.Find("id");
  btf_base = btf.Find("base_btf");
  btf_is_kernel = btf.Find("kernel_btf");
  done(btf);
}

}  // namespace watchsnap
