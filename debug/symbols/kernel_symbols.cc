#include "debug/symbols/kernel_symbols.h"

#include <elf.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "debug/symbols/near_misses.h"

namespace watchsnap {
namespace {

constexpr size_t kNearMissesInMessage = 5;
constexpr size_t kPlacesInMessage = 8;
constexpr uint64_t kWideWatch = 8;
constexpr uint64_t kNarrowWatch = 4;
constexpr uint64_t kMaxAlignment = 4096;

// Printable names stand in messages as they are; a guest may ask for any bytes.
std::string Quoted(std::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  return absl::StrCat("'", plain ? std::string(name) : absl::CHexEscape(name), "'");
}

bool IsPerCpuSection(std::string_view name) { return absl::StartsWith(name, ".data..percpu"); }

// Freed once the kernel has booted (.init.data, .x86_cpu_dev.init), or never kept (.exit.text).
bool IsInitSection(std::string_view name) {
  return absl::StartsWith(name, ".init") || absl::EndsWith(name, ".init") ||
         absl::StartsWith(name, ".exit.");
}

bool IsFunction(const SymbolEntry& entry) {
  return entry.type == STT_FUNC || entry.type == STT_GNU_IFUNC;
}

// By type first. An untyped label is code where nothing but code can be; `.data` of 7.3 is flagged
// executable and writable, and holds data.
bool IsCode(const SymbolEntry& entry) {
  return entry.type == STT_NOTYPE && (entry.section_flags & SHF_EXECINSTR) != 0 &&
         (entry.section_flags & SHF_WRITE) == 0;
}

std::string PlaceOf(const SymbolEntry& entry) {
  switch (entry.place) {
    case SymbolEntry::Place::kUndefined: return "undefined";
    case SymbolEntry::Place::kAbsolute: return absl::StrFormat("0x%x (absolute)", entry.address);
    case SymbolEntry::Place::kCommon: return "common";
    case SymbolEntry::Place::kSection: break;
  }
  return absl::StrFormat("0x%x (%s, %d bytes in %s)", entry.address, SymbolTypeName(entry),
                         entry.size, entry.section);
}

absl::Status Refusal(std::string_view name, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("symbol ", Quoted(name), " cannot be watched: ", why));
}



// Of several entries at one place (`jiffies`, size 0, and `jiffies_64` share one; a name can too),
// the one that says most.
const SymbolEntry& MostTelling(absl::Span<const SymbolEntry> entries) {
  return *std::max_element(entries.begin(), entries.end(),
                           [](const SymbolEntry& a, const SymbolEntry& b) {
                             return std::make_pair(IsFunction(a), a.size) <
                                    std::make_pair(IsFunction(b), b.size);
                           });
}

}  // namespace

uint64_t WatchLength(const DataSymbol& symbol) {
  return symbol.size >= kWideWatch && symbol.address % kWideWatch == 0 ? kWideWatch : kNarrowWatch;
}

uint64_t AddressAlignment(uint64_t address) {
  return address == 0 ? kMaxAlignment : std::min(address & -address, kMaxAlignment);
}

std::string_view SymbolTypeName(const SymbolEntry& entry) {
  if (entry.place == SymbolEntry::Place::kUndefined) return "undefined";
  switch (entry.type) {
    case STT_OBJECT: return "data";
    case STT_COMMON: return "data";
    case STT_FUNC: return "function";
    case STT_GNU_IFUNC: return "indirect function";
    case STT_TLS: return "thread-local data";
    case STT_NOTYPE: return IsCode(entry) ? "code label" : "label";
    default: return "other";
  }
}

absl::StatusOr<std::shared_ptr<const KernelSymbols>> KernelSymbols::Open(
    const std::string& vmlinux_path) {
  absl::StatusOr<std::unique_ptr<const ElfFile>> elf = ElfFile::Open(vmlinux_path);
  if (!elf.ok()) return elf.status();
  return FromElf(*std::move(elf));
}

absl::StatusOr<std::shared_ptr<const KernelSymbols>> KernelSymbols::FromElf(
    std::unique_ptr<const ElfFile> elf) {
  if (elf->type() != ET_EXEC && elf->type() != ET_DYN) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is not a linked kernel (ELF type %d, wanted 2 or 3): its symbols have no addresses "
        "yet. Give the vmlinux, not vmlinux.o or a module",
        elf->path(), elf->type()));
  }
  absl::StatusOr<SymbolTable> table = elf->Symtab();
  if (!table.ok()) return table.status();
  return std::shared_ptr<const KernelSymbols>(new KernelSymbols(std::move(elf), *table));
}

KernelSymbols::KernelSymbols(std::unique_ptr<const ElfFile> elf, SymbolTable table)
    : elf_(std::move(elf)), table_(table), build_id_(elf_->GnuBuildId().value_or("")) {}

SymbolEntry KernelSymbols::Entry(size_t index) const {
  const Elf64_Sym symbol = table_.At(index);
  SymbolEntry entry{.name = table_.Name(symbol.st_name),
                    .address = symbol.st_value,
                    .size = symbol.st_size,
                    .type = static_cast<uint8_t>(ELF64_ST_TYPE(symbol.st_info)),
                    .binding = static_cast<uint8_t>(ELF64_ST_BIND(symbol.st_info))};
  switch (symbol.st_shndx) {
    case SHN_UNDEF: entry.place = SymbolEntry::Place::kUndefined; return entry;
    case SHN_ABS: entry.place = SymbolEntry::Place::kAbsolute; return entry;
    case SHN_COMMON: entry.place = SymbolEntry::Place::kCommon; return entry;
    default: break;
  }
  const uint32_t section = table_.SectionIndex(index);
  if (section >= elf_->sections().size()) {
    entry.place = SymbolEntry::Place::kAbsolute;  // a reserved index: no section gives it a place
    return entry;
  }
  entry.section = elf_->sections()[section].name;
  entry.section_flags = elf_->sections()[section].flags;
  return entry;
}

std::vector<std::vector<SymbolEntry>> KernelSymbols::ResolveMany(
    absl::Span<const std::string_view> names) const {
  std::vector<std::vector<SymbolEntry>> result(names.size());
  const std::vector<std::vector<size_t>> found = table_.Find(names);
  for (size_t n = 0; n < names.size(); ++n) {
    for (size_t index : found[n]) {
      SymbolEntry entry = Entry(index);
      if (entry.type != STT_FILE && entry.type != STT_SECTION) result[n].push_back(entry);
    }
  }
  return result;
}

std::vector<SymbolEntry> KernelSymbols::Lookup(std::string_view name) const {
  return std::move(ResolveMany({name})[0]);
}

absl::StatusOr<uint64_t> KernelSymbols::AddressOf(std::string_view name) const {
  std::vector<SymbolEntry> entries = Lookup(name);
  std::erase_if(entries, [](const SymbolEntry& entry) {
    return entry.place == SymbolEntry::Place::kUndefined ||
           entry.place == SymbolEntry::Place::kCommon;
  });
  if (entries.empty()) {
    return absl::NotFoundError(
        absl::StrCat("symbol ", Quoted(name), " not found in vmlinux symtab of '", path(), "'"));
  }
  for (const SymbolEntry& entry : entries) {
    if (entry.address != entries[0].address) {
      return absl::InvalidArgumentError(
          absl::StrFormat("symbol %s stands for several addresses in '%s': 0x%x, 0x%x",
                          Quoted(name), path(), entries[0].address, entry.address));
    }
  }
  return entries[0].address;
}

absl::StatusOr<DataSymbol> KernelSymbols::ResolveData(std::string_view name) const {
  DataSymbol data;
  if (absl::Status status = CheckWatchable(name, Lookup(name), &data); !status.ok()) return status;
  return data;
}

absl::Status KernelSymbols::CheckWatchable(std::string_view name,
                                           absl::Span<const SymbolEntry> entries,
                                           DataSymbol* data) const {
  if (entries.empty()) {
    std::vector<std::string> near = NearMisses(name, kNearMissesInMessage);
    const std::string hint =
        near.empty() ? "" : absl::StrCat("; near misses: ", absl::StrJoin(near, ", "));
    return absl::NotFoundError(absl::StrCat(
        "symbol ", Quoted(name), " not found in vmlinux symtab", hint,
        ". Names match byte for byte, as `nm` prints them: give a global or static variable of '",
        path(), "'"));
  }
  std::vector<SymbolEntry> defined;
  for (const SymbolEntry& entry : entries) {
    if (entry.place != SymbolEntry::Place::kUndefined &&
        entry.place != SymbolEntry::Place::kCommon) {
      defined.push_back(entry);
    }
  }
  if (defined.empty()) {
    return Refusal(name, absl::StrCat("it is undefined in '", path(),
                                      "': referred to, but with no place in memory. Give the "
                                      "final, linked vmlinux, or a symbol defined there"));
  }
  if (std::any_of(defined.begin(), defined.end(), [&](const SymbolEntry& entry) {
        return entry.address != defined[0].address;
      })) {
    std::map<uint64_t, const SymbolEntry*> by_address;
    for (const SymbolEntry& entry : defined) by_address.emplace(entry.address, &entry);
    std::vector<std::string> places;
    for (const auto& [address, entry] : by_address) {
      if (places.size() == kPlacesInMessage) {
        places.push_back(absl::StrCat("and ", by_address.size() - kPlacesInMessage, " more"));
        break;
      }
      places.push_back(PlaceOf(*entry));
    }
    return Refusal(name, absl::StrCat("it is ambiguous, ", by_address.size(), " places have it: ",
                                      absl::StrJoin(places, "; "),
                                      ". Static variables of different files share the name; "
                                      "watch one with a name of its own"));
  }
  const SymbolEntry& entry = MostTelling(defined);
  if (entry.place == SymbolEntry::Place::kAbsolute) {
    return Refusal(name, absl::StrFormat("it is an absolute symbol, the number 0x%x and no place "
                                         "in memory. Give a variable",
                                         entry.address));
  }
  if (IsPerCpuSection(entry.section)) {
    return Refusal(name, absl::StrCat("it is a per-CPU variable (section ", entry.section,
                                      "): each CPU has its own copy elsewhere, and none is at the "
                                      "symbol's address. Give a variable that exists once"));
  }
  if (IsInitSection(entry.section)) {
    return Refusal(name, absl::StrCat("it is in section ", entry.section,
                                      ", which the kernel frees after boot: its address then "
                                      "belongs to something else. Give a variable that stays"));
  }
  if (IsFunction(entry) || IsCode(entry)) {
    return Refusal(name, absl::StrCat("it is a ", SymbolTypeName(entry), " (in section ",
                                      entry.section, "), and watches are for data that is "
                                      "written. Give a variable that it writes"));
  }
  if (entry.type == STT_TLS || (entry.section_flags & SHF_ALLOC) == 0) {
    return Refusal(name, absl::StrCat("it is ", SymbolTypeName(entry), " in section ",
                                      entry.section, ", which has no fixed place in the running "
                                      "kernel's memory. Give a variable"));
  }
  if (entry.address % kNarrowWatch != 0) {
    return Refusal(name, absl::StrFormat("it is at 0x%x, which is not 4-byte aligned (its "
                                         "alignment is %d): a watch covers 4 or 8 aligned bytes. "
                                         "Give an aligned variable",
                                         entry.address, AddressAlignment(entry.address)));
  }
  *data = {.name = std::string(name),
           .address = entry.address,
           .size = entry.size,
           .section = std::string(entry.section),
           .alignment = AddressAlignment(entry.address)};
  return absl::OkStatus();
}

std::vector<std::string> KernelSymbols::NearMisses(std::string_view name, size_t count) const {
  return FindNearMisses(table_, name, count);
}

std::optional<TextSymbol> KernelSymbols::Symbolize(uint64_t address) const {
  absl::call_once(text_once_, [this] { text_ = TextIndex(table_, elf_->sections()); });
  return text_.Find(address);
}

}  // namespace watchsnap
