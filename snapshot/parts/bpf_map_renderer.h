// BpfMapRenderer: one map as JSON, from the evidence. The visitor of the second walk.
//
// Threads: the renderer's. Ownership: borrows everything for one map's time.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_BPF_MAP_RENDERER_H_
#define WATCHSNAP_SNAPSHOT_PARTS_BPF_MAP_RENDERER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "debug/kernel/bpf_maps.h"
#include "debug/kernel/task_reader.h"
#include "debug/memory_reader.h"
#include "debug/types/type_graph.h"
#include "snapshot/report/report.h"

namespace watchsnap {

class BpfMapRenderer : public BpfVisitor {
 public:
  // `types`: of the map's BTF, or null; `kernel_types`: of struct_ops. `path`: maps["name"].
  BpfMapRenderer(const BpfMap& map, std::shared_ptr<const TypeGraph> types,
                 const std::shared_ptr<const TypeGraph>& kernel_types, const TaskReader& tasks,
                 MemoryReader& memory, std::string path, std::vector<Degraded>& degraded);

  void Array(uint64_t kva, uint64_t stride, uint64_t count, uint64_t bytes) override;
  void Entry(const BpfEntry& entry) override;

  // Appends the whole object, after the walk.
  void Append(const BpfContents& contents, std::string& out);

 private:
  struct TypeRef {
    std::shared_ptr<const TypeGraph> graph;  // null: raw bytes
    TypeId id = kVoidType;
  };
  bool IsSection() const;
  // True where `out` takes another entry: the text of a map is bounded.
  bool BeginEntry();
  void AppendKey(const BpfEntry& entry);
  // The value at `kva`, of which the first `bytes` were taken.
  void AppendValueAt(uint64_t kva, uint64_t bytes, std::string_view where, std::string& out);
  void AppendValue(const TypeRef& type, absl::Span<const uint8_t> bytes, std::string_view where,
                   std::string& out);
  void Lack(std::string_view where, std::string why);

  const BpfMap& map_;
  const TaskReader& tasks_;
  MemoryReader& memory_;
  const std::string path_;
  std::vector<Degraded>& degraded_;
  TypeRef key_;
  TypeRef value_;
  std::string entries_;  // their JSON, with commas
  std::string section_;  // of a global section
  uint64_t rendered_ = 0;
  uint64_t text_cut_ = 0;  // entries that no text was made of
  size_t lacks_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_BPF_MAP_RENDERER_H_
