// BpfBtfCache: the types of BPF programs that captures brought along, so that each program's are copied
// out of the guest once and not with every capture.
//
// Add and Find on the renderer's thread; Has from any, also while frozen: it takes no lock and
// allocates nothing. What was added stays; when it is full, further types are copied each time.
// A program's types never change: their struct btf, its id and their size name them.
#ifndef WATCHSNAP_SNAPSHOT_PARTS_BPF_BTF_CACHE_H_
#define WATCHSNAP_SNAPSHOT_PARTS_BPF_BTF_CACHE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "debug/kernel/bpf_maps.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

class BpfBtfCache {
 public:
  // What the bytes turned out to be: damaged ones are not read twice either.
  using Types = absl::StatusOr<std::shared_ptr<const TypeGraph>>;

  bool Has(const BpfBtf& btf) const { return Find(btf) != nullptr; }
  // Nullptr where it is not there.
  const Types* Find(const BpfBtf& btf) const {
    const size_t count = count_.load(std::memory_order_acquire);
    for (size_t i = 0; i < count; ++i) {
      const Entry& entry = entries_[i];
      if (entry.address == btf.address && entry.id == btf.id && entry.bytes == btf.bytes) {
        return &entry.types;
      }
    }
    return nullptr;
  }
  void Add(const BpfBtf& btf, Types types) {
    const size_t count = count_.load(std::memory_order_relaxed);
    if (count == entries_.size()) return;
    entries_[count].address = btf.address;
    entries_[count].id = btf.id;
    entries_[count].bytes = btf.bytes;
    entries_[count].types = std::move(types);
    // Whoever sees the new count sees the entry.
    count_.store(count + 1, std::memory_order_release);
  }

 private:
  struct Entry {
    uint64_t address = 0;
    uint32_t id = 0;
    uint32_t bytes = 0;
    Types types = std::shared_ptr<const TypeGraph>();
  };
  std::array<Entry, 256> entries_;
  std::atomic<size_t> count_{0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_PARTS_BPF_BTF_CACHE_H_
