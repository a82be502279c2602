// TypeArena: memory for the records of types, their parts and names; given back all at once.
//
// Threads: one at a time. Ownership: what it hands out lives as long as it does, or until Clear.
#ifndef WATCHSNAP_DEBUG_TYPES_TYPE_ARENA_H_
#define WATCHSNAP_DEBUG_TYPES_TYPE_ARENA_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"
#include "debug/types/type.h"

namespace watchsnap {

class TypeArena {
 public:
  // An array of `count` T, each as T() is.
  template <typename T>
  absl::Span<T> New(size_t count) {
    static_assert(alignof(T) <= kAlignment && std::is_trivially_destructible_v<T>);
    T* objects = static_cast<T*>(Allocate(count * sizeof(T)));
    for (size_t i = 0; i < count; ++i) new (objects + i) T();
    return absl::MakeSpan(objects, count);
  }
  // The same, as the members, enumerators, parameters or variables of `type`.
  template <typename T>
  absl::Span<T> AddParts(Type& type, size_t count) {
    const absl::Span<T> parts = New<T>(count);
    type.details = parts.data();
    type.details_count = count;
    return parts;
  }
  // A copy; null of an empty name.
  const char* Intern(std::string_view name) {
    if (name.empty()) return nullptr;
    char* copy = static_cast<char*>(Allocate(name.size() + 1));
    std::memcpy(copy, name.data(), name.size());
    copy[name.size()] = '\0';
    return copy;
  }
  // Keeps some of the memory for what comes next.
  void Clear() {
    if (chunks_.size() > 1) chunks_.resize(1);
    free_ = chunks_.empty() ? nullptr : chunks_[0].bytes.get();
    free_bytes_ = chunks_.empty() ? 0 : chunks_[0].size;
  }

 private:
  static constexpr size_t kAlignment = 8;
  static constexpr size_t kChunk = 16 * 1024;  // taken at once
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t size;
  };

  void* Allocate(size_t bytes) {
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (bytes > free_bytes_) {
      const size_t size = std::max(bytes, kChunk);
      chunks_.push_back({.bytes = std::unique_ptr<char[]>(new char[size]), .size = size});
      free_ = chunks_.back().bytes.get();
      free_bytes_ = size;
    }
    void* result = free_;
    free_ += bytes;
    free_bytes_ -= bytes;
    return result;
  }

  std::vector<Chunk> chunks_;
  char* free_ = nullptr;
  size_t free_bytes_ = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_TYPE_ARENA_H_
