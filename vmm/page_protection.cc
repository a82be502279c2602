#include "vmm/page_protection.h"

#include <linux/kvm.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace watchsnap {
namespace {

constexpr absl::Duration kDevicesDeadline = absl::Seconds(2);

absl::Status CheckPage(const GuestMemory& memory, uint64_t page) {
  if (page % kGuestPageSize == 0 && memory.HostAddress(page, kGuestPageSize) != nullptr) {
    return absl::OkStatus();
  }
  return absl::OutOfRangeError(
      absl::StrFormat("%#x is not the address of a page of guest RAM: it cannot be protected", page));
}

}  // namespace

PageProtection::PageProtection(Vm* vm, GuestMemory* memory, EventLoop* devices)
    : vm_(vm), memory_(memory), devices_(devices) {
  memslots_ = Layout({});
  // Vm::MapMemory numbers them so.
  for (size_t i = 0; i < memslots_.size(); ++i) memslots_[i].id = static_cast<uint32_t>(i);
}

PageProtection::~PageProtection() {
  if (own_mapping_ != nullptr) munmap(own_mapping_, memory_->size());
}

bool PageProtection::HasReadOnlyMemslots() const {
  return vm_->Capability(KVM_CAP_READONLY_MEM) != 0;
}

uint8_t* PageProtection::KvmAddress(const MemoryRegion& region) const {
  return own_mapping_ != nullptr ? own_mapping_ + region.file_offset : region.host;
}

std::vector<PageProtection::Memslot> PageProtection::Layout(
    absl::Span<const uint64_t> read_only_pages) const {
  std::vector<Memslot> layout;
  for (const MemoryRegion& region : memory_->regions()) {
    uint64_t done = region.gpa;
    const uint64_t end = region.gpa + region.size;
    const auto add = [&](uint64_t until, bool read_only) {
      if (until == done) return;
      layout.push_back({.gpa = done,
                        .size = until - done,
                        .host = KvmAddress(region) + (done - region.gpa),
                        .read_only = read_only});
      done = until;
    };
    auto page = std::lower_bound(read_only_pages.begin(), read_only_pages.end(), region.gpa);
    while (page != read_only_pages.end() && *page < end) {
      add(*page, false);
      uint64_t until = *page + kGuestPageSize;  // neighbours share a memslot
      for (++page; page != read_only_pages.end() && *page == until; ++page) until += kGuestPageSize;
      add(until, true);
    }
    add(end, false);
  }
  return layout;
}

absl::Status PageProtection::Set(const Memslot& memslot) {
  kvm_userspace_memory_region region = {};
  region.slot = memslot.id;
  region.flags = memslot.read_only ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = memslot.gpa;
  region.memory_size = memslot.size;
  region.userspace_addr = reinterpret_cast<uint64_t>(memslot.host);
  return vm_->SetMemslot(region);
}

absl::Status PageProtection::Delete(const Memslot& memslot) {
  Memslot gone = memslot;
  gone.size = 0;
  return Set(gone);
}

absl::Status PageProtection::Change(std::vector<Memslot> wanted) {
  std::vector<Memslot> stale;
  std::vector<bool> id_taken(memslots_.size() + wanted.size());
  for (const Memslot& old : memslots_) {
    const auto same = std::find_if(wanted.begin(), wanted.end(),
                                   [&old](const Memslot& slot) { return slot.SameAs(old); });
    if (same == wanted.end()) {
      stale.push_back(old);
    } else {
      same->id = old.id;
      id_taken[old.id] = true;
    }
  }
  std::vector<Memslot> fresh;
  uint32_t next = 0;
  for (Memslot& slot : wanted) {
    const bool kept = std::any_of(memslots_.begin(), memslots_.end(),
                                  [&slot](const Memslot& old) { return slot.SameAs(old); });
    if (kept) continue;
    while (id_taken[next]) ++next;
    slot.id = next++;
    fresh.push_back(slot);
  }
  size_t deleted = 0, added = 0;
  absl::Status status;
  while (status.ok() && deleted < stale.size()) {
    status = Delete(stale[deleted]);
    if (status.ok()) ++deleted;
  }
  while (status.ok() && added < fresh.size()) {
    status = Set(fresh[added]);
    if (status.ok()) ++added;
  }
  if (status.ok()) {
    memslots_ = std::move(wanted);
    return status;
  }
  absl::Status undone;
  for (size_t i = 0; i < added; ++i) undone.Update(Delete(fresh[i]));
  for (size_t i = 0; i < deleted; ++i) undone.Update(Set(stale[i]));
  if (undone.ok()) return status;
  return absl::InternalError(
      absl::StrCat("changing memslots failed and could not be undone, the guest has lost memory: ",
                   status.message(), "; then: ", undone.message()));
}

absl::Status PageProtection::SetReadOnly(absl::Span<const uint64_t> pages) {
  if (!pages.empty() && !HasReadOnlyMemslots()) {
    return absl::UnimplementedError(
        "this host's KVM has no read-only memslots (KVM_CAP_READONLY_MEM)");
  }
  for (uint64_t page : pages) {
    absl::Status status = CheckPage(*memory_, page);
    if (!status.ok()) return status;
  }
  absl::Status status = Change(Layout(pages));
  if (status.ok()) read_only_.assign(pages.begin(), pages.end());
  return status;
}

absl::Status PageProtection::MoveMemory() {
  if (memory_->memfd() >= 0) return absl::OkStatus();
  if (devices_->InLoopThread()) return memory_->MoveToMemfd();
  // Shared: a thread that comes too late finds it given up.
  struct Meeting {
    absl::Mutex mutex;
    bool arrived = false, over = false;
  };
  const auto meeting = std::make_shared<Meeting>();
  devices_->Post([meeting] {
    absl::MutexLock lock(&meeting->mutex);
    meeting->arrived = true;
    meeting->mutex.Await(absl::Condition(&meeting->over));
  });
  absl::MutexLock lock(&meeting->mutex);
  absl::Status status = absl::DeadlineExceededError(
      "moving guest memory to a memfd: the devices' thread is busy; it must stand still meanwhile");
  if (meeting->mutex.AwaitWithTimeout(absl::Condition(&meeting->arrived), kDevicesDeadline)) {
    status = memory_->MoveToMemfd();
  }
  meeting->over = true;
  return status;
}

absl::Status PageProtection::UseOwnMapping() {
  if (own_mapping_ != nullptr) return absl::OkStatus();
  absl::Status status = MoveMemory();
  if (!status.ok()) return status;
  void* mapping = mmap(nullptr, memory_->size(), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_NORESERVE, memory_->memfd(), 0);
  if (mapping == MAP_FAILED) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("mapping the guest's memory of ", memory_->size(), " bytes a second time"));
  }
  own_mapping_ = static_cast<uint8_t*>(mapping);
  status = Change(Layout(read_only_));
  if (!status.ok()) {
    own_mapping_ = nullptr;
    munmap(mapping, memory_->size());
  }
  return status;
}

absl::Status PageProtection::SetHostProtected(absl::Span<const uint64_t> pages, bool is_protected) {
  absl::Status status = UseOwnMapping();
  if (!status.ok()) return status;
  const int protection = is_protected ? PROT_READ : PROT_READ | PROT_WRITE;
  for (size_t i = 0; i < pages.size(); ++i) {
    status = CheckPage(*memory_, pages[i]);
    if (status.ok()) {
      // The first mapping holds the memfd in order, as the second does.
      const uint64_t offset = static_cast<uint64_t>(memory_->HostAddress(pages[i], kGuestPageSize) -
                                                    memory_->regions()[0].host);
      if (mprotect(own_mapping_ + offset, kGuestPageSize, protection) == 0) continue;
      status = absl::ErrnoToStatus(errno, absl::StrFormat("mprotect of guest page %#x", pages[i]));
    }
    if (is_protected) (void)SetHostProtected(pages.subspan(0, i), false);
    return status;
  }
  return absl::OkStatus();
}

}  // namespace watchsnap
