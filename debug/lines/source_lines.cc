#include "debug/lines/source_lines.h"

#include <sys/mman.h>

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "debug/lines/unit_decoder.h"

namespace watchsnap {
namespace {

// The kernel maps 64 KB around each page that is read: some MB for each unit, which would count as
// this process's memory for good. To fault them in again costs about as much as to decode one unit.
constexpr size_t kUnitsBetweenReleases = 32;

}  // namespace


absl::StatusOr<std::unique_ptr<SourceLines>> SourceLines::Open(const std::string& vmlinux_path,
                                                               const SourceLinesOptions& options) {
  absl::StatusOr<std::unique_ptr<const ElfFile>> elf = ElfFile::Open(vmlinux_path);
  if (!elf.ok()) return elf.status();
  absl::StatusOr<std::unique_ptr<SourceLines>> lines = FromElf(*std::move(elf), options);
  if (lines.ok()) (*lines)->mapped_ = true;
  return lines;
}

absl::StatusOr<std::unique_ptr<SourceLines>> SourceLines::FromElf(
    std::unique_ptr<const ElfFile> elf, const SourceLinesOptions& options) {
  absl::StatusOr<DwarfSections> sections = DwarfSections::Of(*elf);
  if (!sections.ok()) return sections.status();
  return std::unique_ptr<SourceLines>(
      new SourceLines(std::move(elf), *std::move(sections), options));
}

SourceLines::SourceLines(std::unique_ptr<const ElfFile> elf, DwarfSections sections,
                         const SourceLinesOptions& options)
    : elf_(std::move(elf)), sections_(std::move(sections)), options_(options) {}

absl::StatusOr<std::vector<SourceFrame>> SourceLines::Find(uint64_t address) {
  absl::MutexLock lock(&mutex_);
  if (!index_.has_value()) index_ = UnitIndex::Read(sections_);
  if (!index_->ok()) return index_->status();
  const std::optional<uint64_t> unit = (*index_)->UnitOf(address);
  if (!unit.has_value()) {
    return absl::NotFoundError(absl::StrFormat(
        "no source line for address 0x%x: .debug_aranges of '%s' has no unit with code there. "
        "Wanted is a link-time address of the kernel's text (without the KASLR slide); modules "
        "and BPF programs are not in the vmlinux",
        address, sections_.path()));
  }
  const Entry& entry = UnitAt(*unit);
  if (!entry.lines.ok()) return entry.lines.status();
  std::vector<SourceFrame> frames = entry.lines->Find(address);
  if (frames.empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "no source line for address 0x%x: its unit in '%s' says nothing about it", address,
        sections_.path()));
  }
  return frames;
}

const SourceLines::Entry& SourceLines::UnitAt(uint64_t offset) {
  if (const auto known = by_unit_.find(offset); known != by_unit_.end()) {
    cache_.splice(cache_.begin(), cache_, known->second);
    return cache_.front();
  }
  if (++decoded_ % kUnitsBetweenReleases == 0) ReleasePages();
  cache_.push_front({.unit = offset, .lines = DecodeUnit(sections_, **index_, offset)});
  Entry& entry = cache_.front();
  entry.bytes = sizeof(Entry) + (entry.lines.ok() ? entry.lines->ByteSize() : 0);
  by_unit_[offset] = cache_.begin();
  cached_bytes_ += entry.bytes;
  while (cached_bytes_ > options_.cache_bytes && cache_.size() > 1) {
    cached_bytes_ -= cache_.back().bytes;
    by_unit_.erase(cache_.back().unit);
    cache_.pop_back();
  }
  return entry;
}

void SourceLines::ReleasePages() const {
  if (!mapped_) return;
  // Read-only pages of a file come back from it when they are next read.
  const absl::Span<const uint8_t> bytes = elf_->bytes();
  (void)madvise(const_cast<uint8_t*>(bytes.data()), bytes.size(), MADV_DONTNEED);
}

SourceLinesStats SourceLines::stats() const {
  absl::MutexLock lock(&mutex_);
  return {.units_indexed = index_.has_value() && index_->ok() ? (*index_)->unit_count() : 0,
          .units_decoded = decoded_,
          .units_cached = cache_.size(),
          .bytes_cached = cached_bytes_};
}

}  // namespace watchsnap
