// The symbols of one kernel build, as its `vmlinux` has them.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const KernelSymbols> kernel, KernelSymbols::Open("vmlinux"));
//   ASSIGN_OR_RETURN(DataSymbol jiffies, kernel->ResolveData("jiffies_64"));
//   watch(jiffies.address + slide, WatchLength(jiffies));
//
// Every address here is the one the kernel was *linked* at; what runs in the guest is that plus the
// KASLR slide (kernel_identity.h). A name is matched byte for byte and nothing is guessed.
//
// What can be watched (`ResolveData`) is strict, because a watch that never fires looks like a
// healthy run: the name must stand for one place in memory that stays the kernel's data while it
// runs. Refused, each with its reason: unknown, ambiguous, undefined, absolute, per-CPU, `.init`,
// functions and code, not 4-byte aligned.
//
// Threads: immutable; every method from any thread. The index of `Symbolize` is built at its first
// use (about 20 ms for 120,000 functions), once.
// Errors: NotFound for a name that is not there, InvalidArgument for one that cannot be watched.
#ifndef WATCHSNAP_DEBUG_SYMBOLS_KERNEL_SYMBOLS_H_
#define WATCHSNAP_DEBUG_SYMBOLS_KERNEL_SYMBOLS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/call_once.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/elf_file.h"
#include "debug/symbols/symbol_table.h"
#include "debug/symbols/text_index.h"

namespace watchsnap {

// A symbol that can be watched.
struct DataSymbol {
  std::string name;
  uint64_t address = 0;  // link-time KVA, 4-byte aligned
  uint64_t size = 0;     // as the symbol table says; 0 for labels of assembly and linker scripts
  std::string section;
  uint64_t alignment = 0;  // the largest power of two that divides the address, at most 4096
};

// Bytes that a watch on `symbol` covers: 8 where it is that long and that aligned, else 4.
uint64_t WatchLength(const DataSymbol& symbol);

// One entry of the symbol table, of any kind. The views live as long as the KernelSymbols.
struct SymbolEntry {
  enum class Place { kSection, kUndefined, kAbsolute, kCommon };

  std::string_view name = {};
  uint64_t address = 0;
  uint64_t size = 0;
  uint8_t type = 0;     // STT_…
  uint8_t binding = 0;  // STB_…
  Place place = Place::kSection;
  std::string_view section = {};  // empty unless kSection
  uint64_t section_flags = 0;  // SHF_…
};

// "data", "function", "label", … for messages and reports.
std::string_view SymbolTypeName(const SymbolEntry& entry);

// The largest power of two, at most a page, that divides `address`. A KASLR slide keeps it.
uint64_t AddressAlignment(uint64_t address);

class KernelSymbols {
 public:
  static absl::StatusOr<std::shared_ptr<const KernelSymbols>> Open(const std::string& vmlinux_path);
  // Takes an opened file; InvalidArgument for an object that is not linked (a module, a .o).
  static absl::StatusOr<std::shared_ptr<const KernelSymbols>> FromElf(
      std::unique_ptr<const ElfFile> elf);
  KernelSymbols(const KernelSymbols&) = delete;
  KernelSymbols& operator=(const KernelSymbols&) = delete;

  const ElfFile& elf() const { return *elf_; }
  const std::string& path() const { return elf_->path(); }
  size_t symbol_count() const { return table_.size(); }
  // The GNU build ID's bytes; empty where the file has none.
  const std::string& build_id() const { return build_id_; }

  // The one place `name` stands for, if that can be watched; else why not, and what to do.
  // A name that is not there gives a message that begins exactly with
  //   symbol '<name>' not found in vmlinux symtab
  absl::StatusOr<DataSymbol> ResolveData(std::string_view name) const;

  // Every entry called `name`, whatever it is, in table order; STT_FILE and STT_SECTION left out.
  std::vector<SymbolEntry> Lookup(std::string_view name) const;
  // The same for several names in one pass over the table; the result is in the order of `names`.
  std::vector<std::vector<SymbolEntry>> ResolveMany(absl::Span<const std::string_view> names) const;
  // The address of `name`, for the kernel's own symbols that watchsnap reads (`panic_cpu`,
  // `idt_table`…), of any kind; NotFound, or InvalidArgument where it has several addresses.
  absl::StatusOr<uint64_t> AddressOf(std::string_view name) const;

  // Why `entries` (all of one name) cannot be watched; OK and `*data` filled if they can.
  absl::Status CheckWatchable(std::string_view name, absl::Span<const SymbolEntry> entries,
                              DataSymbol* data) const;

  // Up to `count` names of data that resemble `name`, best first.
  std::vector<std::string> NearMisses(std::string_view name, size_t count) const;

  // The function (or sized assembly routine) that holds link-time address `address`.
  // For a return address ask for `address - 1`: a call may be the last instruction of its function.
  std::optional<TextSymbol> Symbolize(uint64_t address) const;

 private:
  KernelSymbols(std::unique_ptr<const ElfFile> elf, SymbolTable table);
  SymbolEntry Entry(size_t index) const;

  const std::unique_ptr<const ElfFile> elf_;
  const SymbolTable table_;
  const std::string build_id_;
  mutable absl::once_flag text_once_;
  mutable TextIndex text_;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_SYMBOLS_KERNEL_SYMBOLS_H_
