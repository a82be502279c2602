#include "vmm/bus.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace watchsnap {

absl::Status Bus::Insert(uint64_t base, uint64_t size, IoHandler* handler) {
  if (size == 0 || base + size - 1 < base) {
    return absl::InvalidArgumentError(absl::StrFormat("%s bus: %s cannot be mapped at %#x size %#x",
                                                      name_, handler->Name(), base, size));
  }
  absl::MutexLock lock(&mutex_);
  auto next = mappings_.upper_bound(base + size - 1);
  if (next != mappings_.begin()) {
    auto previous = std::prev(next);
    if (previous->first + previous->second.size - 1 >= base) {
      return absl::AlreadyExistsError(absl::StrFormat(
          "%s bus: %s at [%#x, %#x] overlaps %s at [%#x, %#x]", name_, handler->Name(), base,
          base + size - 1, previous->second.handler->Name(), previous->first,
          previous->first + previous->second.size - 1));
    }
  }
  mappings_[base] = {size, handler};
  return absl::OkStatus();
}

void Bus::Remove(uint64_t base) {
  absl::MutexLock lock(&mutex_);
  mappings_.erase(base);
}

IoHandler* Bus::Find(uint64_t address, uint64_t length, uint64_t* offset) {
  absl::ReaderMutexLock lock(&mutex_);
  auto next = mappings_.upper_bound(address);
  if (next == mappings_.begin()) return nullptr;
  auto& [base, mapping] = *std::prev(next);
  const uint64_t into = address - base;
  if (into >= mapping.size || length > mapping.size - into) return nullptr;
  *offset = into;
  return mapping.handler;
}

bool Bus::Read(uint64_t address, absl::Span<uint8_t> data) {
  uint64_t offset = 0;
  IoHandler* handler = Find(address, data.size(), &offset);
  if (handler == nullptr) {
    std::fill(data.begin(), data.end(), 0xff);
    return false;
  }
  handler->Read(offset, data);
  return true;
}

bool Bus::Write(uint64_t address, absl::Span<const uint8_t> data) {
  uint64_t offset = 0;
  IoHandler* handler = Find(address, data.size(), &offset);
  if (handler == nullptr) return false;
  handler->Write(offset, data);
  return true;
}

}  // namespace watchsnap
