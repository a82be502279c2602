#include "debug/symbols/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/symbols/elf_notes.h"

namespace watchsnap {
namespace {

// More than any kernel has (7.3 has 62); a header that claims more would only cost memory.
constexpr uint64_t kMaxSections = 100'000;
constexpr uint64_t kMaxSegments = 65'536;

// What the file is instead, for the message: people hand over the bootable image by mistake.
std::string_view GuessFormat(absl::Span<const uint8_t> bytes) {
  constexpr size_t kSetupHeader = 0x202;  // Documentation/arch/x86/boot.rst, field `header`
  constexpr size_t kArm64Magic = 0x38;    // Documentation/arch/arm64/booting.rst, field `magic`
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.empty()) return "the file is empty";
  if (text.size() > kSetupHeader + 4 && text.substr(kSetupHeader, 4) == "HdrS") {
    return "this is a bzImage, which has no symbols";
  }
  if (text.size() > kArm64Magic + 4 && text.substr(kArm64Magic, 4) == "ARM\x64") {
    return "this is an arm64 Image, which has no symbols";
  }
  if (absl::StartsWith(text, "\x1f\x8b")) return "it is compressed with gzip";
  if (absl::StartsWith(text, "\xfd" "7zXZ")) return "it is compressed with xz";
  if (absl::StartsWith(text, "\x28\xb5\x2f\xfd")) return "it is compressed with zstd";
  return "it does not begin with the bytes 7f 45 4c 46";
}

bool Fits(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

template <typename T>
T LoadAt(absl::Span<const uint8_t> bytes, uint64_t offset) {
  T value;
  memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

absl::Status Damaged(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", path, "' is a damaged ELF file: ", what,
                   ". Fetch or copy it again; a partial download looks like this"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const ElfFile>> ElfFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot open the kernel's vmlinux '", path, "'"));
  }
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat status;
  if (fstat(fd, &status) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat '", path, "'"));
  }
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' is not an ELF file: it is not a regular file"));
  }
  std::unique_ptr<ElfFile> elf(new ElfFile);
  elf->path_ = path;
  if (status.st_size > 0) {
    void* mapping = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot map '", path, "'"));
    }
    elf->mapping_ = mapping;
    elf->bytes_ = absl::MakeConstSpan(static_cast<const uint8_t*>(mapping), status.st_size);
  }
  if (absl::Status parsed = elf->Parse(); !parsed.ok()) return parsed;
  return elf;
}

absl::StatusOr<std::unique_ptr<const ElfFile>> ElfFile::FromBytes(std::string name,
                                                                  std::vector<uint8_t> bytes) {
  std::unique_ptr<ElfFile> elf(new ElfFile);
  elf->path_ = std::move(name);
  elf->owned_ = std::move(bytes);
  elf->bytes_ = elf->owned_;
  if (absl::Status parsed = elf->Parse(); !parsed.ok()) return parsed;
  return elf;
}

ElfFile::~ElfFile() {
  if (mapping_ != nullptr) munmap(mapping_, bytes_.size());
}

absl::Status ElfFile::Parse() {
  if (bytes_.size() < SELFMAG || memcmp(bytes_.data(), ELFMAG, SELFMAG) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path_, "' is not an ELF file: ", GuessFormat(bytes_),
                     ". Give the uncompressed vmlinux that belongs to the kernel"));
  }
  if (bytes_.size() < sizeof(Elf64_Ehdr)) return Damaged(path_, "its header is cut off");
  const auto header = LoadAt<Elf64_Ehdr>(bytes_, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is an ELF file of class %d and byte order %d; a 64-bit little-endian one (class 2, "
        "order 1) is wanted",
        path_, header.e_ident[EI_CLASS], header.e_ident[EI_DATA]));
  }
  type_ = header.e_type;
  machine_ = header.e_machine;
  entry_ = header.e_entry;

  uint64_t section_count = header.e_shnum;
  uint64_t name_index = header.e_shstrndx;
  uint64_t segment_count = header.e_phnum;
  if (header.e_shoff != 0) {
    if (header.e_shentsize != sizeof(Elf64_Shdr)) {
      return Damaged(path_, absl::StrCat("its section headers are ", header.e_shentsize,
                                         " bytes each instead of ", sizeof(Elf64_Shdr)));
    }
    if (!Fits(header.e_shoff, sizeof(Elf64_Shdr), bytes_.size())) {
      return Damaged(path_, absl::StrCat("its section headers are at ", header.e_shoff,
                                         ", past the end at ", bytes_.size()));
    }
    // Counts that do not fit 16 bits stand in the first section header.
    const auto first = LoadAt<Elf64_Shdr>(bytes_, header.e_shoff);
    if (section_count == 0) section_count = first.sh_size;
    if (name_index == SHN_XINDEX) name_index = first.sh_link;
    if (segment_count == PN_XNUM) segment_count = first.sh_info;
    if (absl::Status s = ParseSections(header.e_shoff, section_count, name_index); !s.ok()) {
      return s;
    }
  }
  if (header.e_phoff != 0 && segment_count != 0) {
    if (header.e_phentsize != sizeof(Elf64_Phdr)) {
      return Damaged(path_, absl::StrCat("its program headers are ", header.e_phentsize,
                                         " bytes each instead of ", sizeof(Elf64_Phdr)));
    }
    if (absl::Status s = ParseSegments(header.e_phoff, segment_count); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status ElfFile::ParseSections(uint64_t table, uint64_t count, uint64_t name_index) {
  if (count > kMaxSections || !Fits(table, count * sizeof(Elf64_Shdr), bytes_.size())) {
    return Damaged(path_, absl::StrCat("it claims ", count, " section headers at ", table,
                                       ", which do not fit its ", bytes_.size(), " bytes"));
  }
  sections_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto header = LoadAt<Elf64_Shdr>(bytes_, table + i * sizeof(Elf64_Shdr));
    if (header.sh_type != SHT_NOBITS && header.sh_type != SHT_NULL &&
        !Fits(header.sh_offset, header.sh_size, bytes_.size())) {
      return Damaged(path_,
                     absl::StrCat("section ", i, " (", header.sh_size, " bytes at ",
                                  header.sh_offset, ") ends past the file's ", bytes_.size()));
    }
    sections_.push_back({.type = header.sh_type,
                         .flags = header.sh_flags,
                         .address = header.sh_addr,
                         .offset = header.sh_offset,
                         .size = header.sh_size,
                         .link = header.sh_link,
                         .info = header.sh_info,
                         .entry_size = header.sh_entsize,
                         .alignment = header.sh_addralign});
  }
  if (name_index == SHN_UNDEF || count == 0) return absl::OkStatus();
  if (name_index >= count) {
    return Damaged(path_, absl::StrCat("its section names are in section ", name_index, " of ",
                                       count));
  }
  const SymbolTable names({}, Contents(sections_[name_index]), {});
  for (uint64_t i = 0; i < count; ++i) {
    const auto header = LoadAt<Elf64_Shdr>(bytes_, table + i * sizeof(Elf64_Shdr));
    sections_[i].name = names.Name(header.sh_name);
  }
  return absl::OkStatus();
}

absl::Status ElfFile::ParseSegments(uint64_t table, uint64_t count) {
  if (count > kMaxSegments || !Fits(table, count * sizeof(Elf64_Phdr), bytes_.size())) {
    return Damaged(path_, absl::StrCat("it claims ", count, " program headers at ", table,
                                       ", which do not fit its ", bytes_.size(), " bytes"));
  }
  segments_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto header = LoadAt<Elf64_Phdr>(bytes_, table + i * sizeof(Elf64_Phdr));
    const bool wraps = header.p_vaddr + header.p_memsz < header.p_vaddr;
    if (!Fits(header.p_offset, header.p_filesz, bytes_.size()) || wraps ||
        (header.p_type == PT_LOAD && header.p_filesz > header.p_memsz)) {
      return Damaged(path_, absl::StrFormat("segment %d (%d bytes at %d, %d in memory at 0x%x) "
                                            "does not fit the file's %d bytes or the address space",
                                            i, header.p_filesz, header.p_offset, header.p_memsz,
                                            header.p_vaddr, bytes_.size()));
    }
    segments_.push_back({.type = header.p_type,
                         .flags = header.p_flags,
                         .offset = header.p_offset,
                         .virtual_address = header.p_vaddr,
                         .physical_address = header.p_paddr,
                         .file_size = header.p_filesz,
                         .memory_size = header.p_memsz});
  }
  return absl::OkStatus();
}

const ElfSection* ElfFile::FindSection(std::string_view name) const {
  for (const ElfSection& section : sections_) {
    if (section.type != SHT_NULL && section.name == name) return &section;
  }
  return nullptr;
}

absl::Span<const uint8_t> ElfFile::Contents(const ElfSection& section) const {
  if (section.type == SHT_NOBITS || section.type == SHT_NULL) return {};
  return bytes_.subspan(section.offset, section.size);  // checked by ParseSections
}

absl::StatusOr<SymbolTable> ElfFile::Symtab() const {
  for (size_t i = 0; i < sections_.size(); ++i) {
    const ElfSection& table = sections_[i];
    if (table.type != SHT_SYMTAB) continue;
    if (table.entry_size != sizeof(Elf64_Sym)) {
      return Damaged(path_, absl::StrCat("its symbols are ", table.entry_size,
                                         " bytes each instead of ", sizeof(Elf64_Sym)));
    }
    if (table.link >= sections_.size() || sections_[table.link].type != SHT_STRTAB) {
      return Damaged(path_, absl::StrCat("the names of its symbols are in section ", table.link,
                                         ", which is not a string table"));
    }
    absl::Span<const uint8_t> extended;
    for (const ElfSection& other : sections_) {
      if (other.type == SHT_SYMTAB_SHNDX && other.link == i) extended = Contents(other);
    }
    return SymbolTable(Contents(table), Contents(sections_[table.link]), extended);
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "'", path_, "' is stripped: it has no symbol table (.symtab). Give the unstripped vmlinux of "
      "the build tree, or the one of the distribution's debug symbol package "
      "(linux-image-…-dbg)"));
}

absl::Status ElfFile::ReadAtKva(uint64_t kva, absl::Span<uint8_t> out) const {
  for (const ElfSegment& segment : segments_) {
    if (segment.type != PT_LOAD || kva < segment.virtual_address) continue;
    const uint64_t start = kva - segment.virtual_address;
    if (!Fits(start, out.size(), segment.memory_size)) continue;
    const uint64_t in_file =
        start >= segment.file_size ? 0 : std::min<uint64_t>(out.size(), segment.file_size - start);
    if (in_file > 0) memcpy(out.data(), bytes_.data() + segment.offset + start, in_file);
    std::fill(out.begin() + in_file, out.end(), 0);
    return absl::OkStatus();
  }
  return absl::OutOfRangeError(
      absl::StrFormat("'%s' has no segment with %d bytes at 0x%x", path_, out.size(), kva));
}

std::optional<std::string> ElfFile::GnuBuildId() const {
  for (const ElfSection& section : sections_) {
    if (section.type != SHT_NOTE) continue;
    if (auto id = FindGnuBuildId(Contents(section))) return id;
  }
  for (const ElfSegment& segment : segments_) {
    if (segment.type != PT_NOTE) continue;
    if (auto id = FindGnuBuildId(bytes_.subspan(segment.offset, segment.file_size))) return id;
  }
  return std::nullopt;
}

}  // namespace watchsnap
