#include "testing/scenario/program_libraries.h"

#include <elf.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "vmm/boot/host_file.h"

namespace watchsnap {
namespace {

const char* const kSystemFolders[] = {"/lib/x86_64-linux-gnu",
                                      "/usr/lib/x86_64-linux-gnu",
                                      "/lib/aarch64-linux-gnu",
                                      "/usr/lib/aarch64-linux-gnu",
                                      "/lib64",
                                      "/usr/lib64",
                                      "/lib",
                                      "/usr/lib"};

absl::Status Damaged(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("damaged ELF file: ", what, " lies outside it"));
}

// Reads at offsets that the file itself gives.
class ElfBytes {
 public:
  explicit ElfBytes(absl::Span<const uint8_t> file) : file_(file) {}

  template <typename T>
  std::optional<T> Read(uint64_t offset) const {
    T value;
    if (file_.size() < sizeof(T) || offset > file_.size() - sizeof(T)) return std::nullopt;
    memcpy(&value, file_.data() + offset, sizeof(T));
    return value;
  }
  std::optional<std::string> Text(uint64_t offset) const {
    if (offset >= file_.size()) return std::nullopt;
    const auto begin = file_.begin() + static_cast<ptrdiff_t>(offset);
    const auto end = std::find(begin, file_.end(), '\0');
    if (end == file_.end()) return std::nullopt;
    return std::string(begin, end);
  }

 private:
  const absl::Span<const uint8_t> file_;
};

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

absl::StatusOr<DynamicNeeds> NeedsOf(const std::string& path) {
  absl::StatusOr<HostFile> file = HostFile::Open(path, "program or library for the guest");
  if (!file.ok()) return file.status();
  std::vector<uint8_t> bytes(file->size());
  if (absl::Status read = file->ReadAt(0, absl::MakeSpan(bytes)); !read.ok()) return read;
  absl::StatusOr<DynamicNeeds> needs = ReadDynamicNeeds(bytes);
  if (needs.ok()) return needs;
  return absl::Status(needs.status().code(), absl::StrCat(path, ": ", needs.status().message()));
}

absl::StatusOr<std::string> FindLibrary(const std::string& name, const std::string& wanted_by,
                                        const std::vector<std::string>& test_files) {
  for (const std::string& file : test_files) {
    if (FileName(file) == name) return file;
  }
  for (const char* folder : kSystemFolders) {
    std::string path = absl::StrCat(folder, "/", name);
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return absl::NotFoundError(absl::StrCat("no library ", name, " for ", wanted_by,
                                          ": it is neither in guest_data nor in ",
                                          absl::StrJoin(kSystemFolders, ", ")));
}

}  // namespace

absl::StatusOr<DynamicNeeds> ReadDynamicNeeds(absl::Span<const uint8_t> file) {
  DynamicNeeds needs;
  const ElfBytes bytes(file);
  const std::optional<Elf64_Ehdr> header = bytes.Read<Elf64_Ehdr>(0);
  if (!header.has_value() || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64) {
    return needs;
  }
  std::vector<Elf64_Phdr> loads;
  std::optional<Elf64_Phdr> dynamic;
  for (uint64_t i = 0; i < header->e_phnum; ++i) {
    const std::optional<Elf64_Phdr> segment =
        bytes.Read<Elf64_Phdr>(header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment.has_value()) return Damaged("a program header");
    if (segment->p_type == PT_LOAD) loads.push_back(*segment);
    if (segment->p_type == PT_DYNAMIC) dynamic = *segment;
    if (segment->p_type != PT_INTERP) continue;
    const std::optional<std::string> interpreter = bytes.Text(segment->p_offset);
    if (!interpreter.has_value()) return Damaged("the interpreter's name");
    needs.interpreter = *interpreter;
  }
  if (!dynamic.has_value()) return needs;

  std::vector<uint64_t> names;  // offsets in the string table
  std::optional<uint64_t> table;
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->p_filesz; at += sizeof(Elf64_Dyn)) {
    const std::optional<Elf64_Dyn> entry = bytes.Read<Elf64_Dyn>(dynamic->p_offset + at);
    if (!entry.has_value()) return Damaged("the dynamic section");
    if (entry->d_tag == DT_NULL) break;
    if (entry->d_tag == DT_NEEDED) names.push_back(entry->d_un.d_val);
    if (entry->d_tag != DT_STRTAB) continue;
    // It is an address; where that is in the file, the segment says.
    for (const Elf64_Phdr& load : loads) {
      if (entry->d_un.d_ptr >= load.p_vaddr && entry->d_un.d_ptr - load.p_vaddr < load.p_filesz) {
        table = load.p_offset + (entry->d_un.d_ptr - load.p_vaddr);
      }
    }
  }
  for (const uint64_t name : names) {
    const std::optional<std::string> text =
        table.has_value() ? bytes.Text(*table + name) : std::nullopt;
    if (!text.has_value()) return Damaged("a library's name");
    needs.libraries.push_back(*text);
  }
  return needs;
}

absl::StatusOr<std::vector<GuestLibrary>> LibrariesOf(const std::string& program,
                                                      const std::vector<std::string>& test_files) {
  absl::StatusOr<DynamicNeeds> needs = NeedsOf(program);
  if (!needs.ok()) return needs.status();
  std::vector<GuestLibrary> libraries;
  if (needs->interpreter.empty()) return libraries;

  const std::string linker = FileName(needs->interpreter);
  absl::StatusOr<std::string> found_linker = needs->interpreter;
  if (access(needs->interpreter.c_str(), R_OK) != 0) {
    found_linker = FindLibrary(linker, program, test_files);
    if (!found_linker.ok()) return found_linker.status();
  }
  libraries.push_back({*found_linker, needs->interpreter});

  std::set<std::string> known = {linker};
  std::deque<std::pair<std::string, std::string>> wanted;  // library, by whom
  for (const std::string& library : needs->libraries) wanted.emplace_back(library, program);
  for (; !wanted.empty(); wanted.pop_front()) {
    const auto& [name, wanted_by] = wanted.front();
    if (!known.insert(name).second) continue;
    absl::StatusOr<std::string> path = FindLibrary(name, wanted_by, test_files);
    if (!path.ok()) return path.status();
    absl::StatusOr<DynamicNeeds> further = NeedsOf(*path);
    if (!further.ok()) return further.status();
    libraries.push_back({*path, absl::StrCat(kGuestLibraryFolder, "/", name)});
    for (const std::string& library : further->libraries) wanted.emplace_back(library, *path);
  }
  return libraries;
}

}  // namespace watchsnap
