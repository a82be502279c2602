// other_build VMLINUX OUT: writes the symbols of a vmlinux, and its notes with another build ID, as
// a small ELF file.
//
// To a reader of symbols OUT is a vmlinux of another build of the same kernel: every symbol at its
// place, another identity. Sections other than symbols, names and notes are kept without contents,
// so that OUT is a few MB where VMLINUX is hundreds.
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

bool HasContents(const Elf64_Shdr& section) {
  return section.sh_type == SHT_SYMTAB || section.sh_type == SHT_STRTAB ||
         section.sh_type == SHT_NOTE;
}

// Flips the first byte of the GNU build ID in the notes; false if there is none.
bool ChangeBuildId(uint8_t* notes, size_t size) {
  for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= size;) {
    Elf64_Nhdr note;
    memcpy(&note, notes + at, sizeof(note));
    const size_t contents = at + sizeof(note) + ((size_t{note.n_namesz} + 3) & ~size_t{3});
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
        memcmp(notes + at + sizeof(note), "GNU", 4) == 0 && note.n_descsz > 0 && contents < size) {
      notes[contents] ^= 0xff;
      return true;
    }
    at = contents + ((size_t{note.n_descsz} + 3) & ~size_t{3});
  }
  return false;
}

int Fail(const char* what) {
  fprintf(stderr, "other_build: %s\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return Fail("usage: other_build VMLINUX OUT");
  const int fd = open(argv[1], O_RDONLY);
  struct stat info;
  if (fd < 0 || fstat(fd, &info) != 0) return Fail("cannot open the vmlinux");
  const size_t size = static_cast<size_t>(info.st_size);
  void* const mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED || size < sizeof(Elf64_Ehdr)) return Fail("cannot read the vmlinux");
  const uint8_t* const file = static_cast<const uint8_t*>(mapped);

  Elf64_Ehdr header;
  memcpy(&header, file, sizeof(header));
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_shentsize != sizeof(Elf64_Shdr) ||
      header.e_shoff > size ||
      size - header.e_shoff < size_t{header.e_shnum} * sizeof(Elf64_Shdr)) {
    return Fail("not an ELF file with sections");
  }
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  memcpy(sections.data(), file + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));

  std::vector<uint8_t> out(sizeof(header));
  bool changed = false;
  for (Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_NULL || section.sh_type == SHT_NOBITS) continue;
    if (!HasContents(section)) {
      section.sh_type = SHT_NOBITS;
      section.sh_offset = 0;
      continue;
    }
    if (section.sh_size > size || section.sh_offset > size - section.sh_size)
      return Fail("a section lies outside the file");
    out.resize((out.size() + 15) & ~size_t{15});
    const size_t at = out.size();
    out.insert(out.end(), file + section.sh_offset, file + section.sh_offset + section.sh_size);
    section.sh_offset = at;
    if (section.sh_type == SHT_NOTE)
      changed = ChangeBuildId(out.data() + at, section.sh_size) || changed;
  }
  if (!changed) return Fail("the vmlinux has no GNU build ID");
  out.resize((out.size() + 15) & ~size_t{15});
  header.e_shoff = out.size();
  header.e_phoff = 0;
  header.e_phnum = 0;
  memcpy(out.data(), &header, sizeof(header));
  const uint8_t* const table = reinterpret_cast<const uint8_t*>(sections.data());
  out.insert(out.end(), table, table + sections.size() * sizeof(Elf64_Shdr));

  FILE* const result = fopen(argv[2], "wb");
  if (result == nullptr || fwrite(out.data(), 1, out.size(), result) != out.size() ||
      fclose(result) != 0) {
    return Fail("cannot write the result");
  }
  return 0;
}
