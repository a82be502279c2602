#include "debug/stacks/x86_64/orc_table.h"

#include <array>
#include <cstring>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace watchsnap::x86_64 {
namespace {

constexpr size_t kAddressBytes = 4;
// struct orc_entry: s16 sp_offset, s16 bp_offset, sp_reg:4, bp_reg:4, type:3, signal:1.
constexpr size_t kEntryBytes = 6;
constexpr size_t kHeaderBytes = 20;  // a SHA-1

// What scripts/orc_hash.sh makes of orc_types.h.
// Linux 6.4, commit fb799447ae29: types UNDEFINED and END_OF_STACK.
constexpr std::string_view kHashLinux64 = "fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24";
// Linux 7.x, seen in 7.3.4: ORC_REG_AX is there, and the registers have other numbers.
constexpr std::string_view kHashLinux73 = "137c36ad7627c4dd55932176bb0ecdbd5041fc82";

constexpr std::array<OrcBase, 10> kBasesLinux64 = {
    OrcBase::kUndefined,  OrcBase::kPreviousSp, OrcBase::kDx,  OrcBase::kDi,
    OrcBase::kBp,         OrcBase::kSp,         OrcBase::kR10, OrcBase::kR13,
    OrcBase::kBpIndirect, OrcBase::kSpIndirect};
constexpr std::array<OrcBase, 11> kBasesLinux73 = {
    OrcBase::kUndefined,  OrcBase::kAx,         OrcBase::kDx,        OrcBase::kSp,
    OrcBase::kBp,         OrcBase::kDi,         OrcBase::kR10,       OrcBase::kR13,
    OrcBase::kPreviousSp, OrcBase::kSpIndirect, OrcBase::kBpIndirect};

}  // namespace

absl::StatusOr<OrcTable::Numbering> OrcTable::IdentifyNumbering(const ElfFile& elf) {
  const ElfSection* section = elf.FindSection(".orc_header");
  if (section == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(elf.path(),
                     ": .orc_header: wanted, but there is none (kernels before 6.4); stacks need a "
                     "newer kernel"));
  }
  const absl::Span<const uint8_t> contents = elf.Contents(*section);
  const std::string hash = absl::BytesToHexString(
      std::string_view(reinterpret_cast<const char*>(contents.data()), contents.size()));
  if (contents.size() == kHeaderBytes && hash == kHashLinux64) return Numbering::kLinux64;
  if (contents.size() == kHeaderBytes && hash == kHashLinux73) return Numbering::kLinux73;
  return absl::UnimplementedError(
      absl::StrCat(elf.path(), ": .orc_header is ", hash.substr(0, 2 * kHeaderBytes), ", wanted ",
                   kHashLinux64, " (Linux 6.4 and later) or ", kHashLinux73,
                   " (7.3): this kernel defines its unwind table in another way; teach it to "
                   "debug/stacks/x86_64/orc_table.cc"));
}

absl::StatusOr<OrcTable> OrcTable::Create(const ElfFile& elf) {
  const ElfSection* addresses = elf.FindSection(".orc_unwind_ip");
  const ElfSection* entries = elf.FindSection(".orc_unwind");
  if (elf.machine() != EM_X86_64 || addresses == nullptr || entries == nullptr) {
    return absl::NotFoundError(absl::StrCat(elf.path(),
                                            ": no .orc_unwind_ip and .orc_unwind of x86_64; build "
                                            "the kernel with CONFIG_UNWINDER_ORC=y"));
  }
  absl::StatusOr<Numbering> numbering = IdentifyNumbering(elf);
  if (!numbering.ok()) return numbering.status();

  OrcTable table;
  table.addresses_ = elf.Contents(*addresses);
  table.entries_ = elf.Contents(*entries);
  table.addresses_kva_ = addresses->address;
  table.numbering_ = *numbering;
  table.count_ = table.addresses_.size() / kAddressBytes;
  if (table.count_ == 0 || table.addresses_.size() % kAddressBytes != 0 ||
      table.entries_.size() != table.count_ * kEntryBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(elf.path(), ": .orc_unwind_ip has ", table.addresses_.size(),
                     " bytes and .orc_unwind ", table.entries_.size(), "; wanted ", kAddressBytes,
                     " and ", kEntryBytes, " an entry: the file is damaged"));
  }
  for (size_t i = 1; i < table.count_; ++i) {
    if (table.AddressAt(i) < table.AddressAt(i - 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat(elf.path(), ": .orc_unwind_ip is not sorted at entry ", i,
                       "; the kernel's build sorts it: the file is damaged"));
    }
  }
  for (const ElfSection& section : elf.sections()) {
    if ((section.flags & (SHF_ALLOC | SHF_EXECINSTR | SHF_WRITE)) != (SHF_ALLOC | SHF_EXECINSTR))
      continue;
    if (section.address + section.size <= section.address) continue;
    table.text_.push_back({section.address, section.address + section.size});
  }
  return table;
}

uint64_t OrcTable::AddressAt(size_t index) const {
  int32_t offset;
  std::memcpy(&offset, addresses_.data() + index * kAddressBytes, sizeof offset);
  return addresses_kva_ + index * kAddressBytes + static_cast<uint64_t>(int64_t{offset});
}

OrcBase OrcTable::Base(uint8_t number) const {
  if (numbering_ == Numbering::kLinux64) {
    return number < kBasesLinux64.size() ? kBasesLinux64[number] : OrcBase::kInvalid;
  }
  return number < kBasesLinux73.size() ? kBasesLinux73[number] : OrcBase::kInvalid;
}

OrcEntry OrcTable::EntryAt(size_t index) const {
  const uint8_t* at = entries_.data() + index * kEntryBytes;
  OrcEntry entry;
  std::memcpy(&entry.sp_offset, at, 2);
  std::memcpy(&entry.bp_offset, at + 2, 2);
  entry.sp_base = Base(at[4] & 0xf);
  entry.bp_base = Base(at[4] >> 4);
  const uint8_t type = at[5] & 7;
  entry.type = type < static_cast<uint8_t>(OrcType::kInvalid) ? static_cast<OrcType>(type)
                                                              : OrcType::kInvalid;
  entry.signal = (at[5] & 8) != 0;
  return entry;
}

std::optional<OrcEntry> OrcTable::Find(uint64_t address) const {
  bool in_text = false;
  for (const Range& range : text_) in_text |= address >= range.begin && address < range.end;
  if (!in_text) return std::nullopt;
  // The last of those that begin at or before it: of several at one address the last is the real
  // one, those before it end sections.
  size_t first = 0;
  size_t last = count_;
  while (first < last) {
    const size_t middle = first + (last - first) / 2;
    if (AddressAt(middle) <= address) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  if (first == 0) return std::nullopt;
  return EntryAt(first - 1);
}

}  // namespace watchsnap::x86_64
