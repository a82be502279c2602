#include "debug/symbols/elf_builder.h"

#include <algorithm>
#include <utility>

namespace watchsnap {
namespace {

using Bytes = std::vector<uint8_t>;

template <typename T>
void Append(Bytes& bytes, const T& value) {
  const auto* raw = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), raw, raw + sizeof(value));
}

void AppendText(Bytes& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

// The offset of `name` and its terminator in `strings`: in the tail of another name, or appended.
uint32_t Intern(Bytes& strings, const std::string& name) {
  const auto* raw = reinterpret_cast<const uint8_t*>(name.c_str());
  auto at = std::search(strings.begin(), strings.end(), raw, raw + name.size() + 1);
  const auto offset = static_cast<uint32_t>(at - strings.begin());
  if (at == strings.end()) strings.insert(strings.end(), raw, raw + name.size() + 1);
  return offset;
}

void AppendNote(Bytes& notes, std::string_view owner, uint32_t type, std::string_view contents) {
  Append(notes, Elf64_Nhdr{static_cast<uint32_t>(owner.size() + 1),
                           static_cast<uint32_t>(contents.size()), type});
  AppendText(notes, owner);
  notes.push_back(0);
  notes.resize((notes.size() + 3) & ~size_t{3});
  AppendText(notes, contents);
  notes.resize((notes.size() + 3) & ~size_t{3});
}

}  // namespace

uint16_t ElfBuilder::AddSection(std::string name, uint64_t address, uint64_t flags, uint64_t size,
                                uint32_t type) {
  const uint16_t index =
      AddSection(std::move(name), address, flags, Bytes(type == SHT_NOBITS ? 0 : size), type);
  sections_.back().header.sh_size = size;
  return index;
}

uint16_t ElfBuilder::AddSection(std::string name, uint64_t address, uint64_t flags, Bytes contents,
                                uint32_t type) {
  Elf64_Shdr header = {};
  header.sh_type = type;
  header.sh_flags = flags;
  header.sh_addr = address;
  header.sh_size = contents.size();
  header.sh_addralign = 1;
  sections_.push_back({std::move(name), header, std::move(contents)});
  return static_cast<uint16_t>(sections_.size());  // section 0 is the null section
}

ElfBuilder& ElfBuilder::AddSymbol(std::string name, uint16_t section, uint64_t value, uint64_t size,
                                  uint8_t type, uint8_t binding) {
  Elf64_Sym symbol = {};
  symbol.st_info = ELF64_ST_INFO(binding, type);
  symbol.st_shndx = section;
  symbol.st_value = value;
  symbol.st_size = size;
  symbols_.push_back({std::move(name), symbol});
  return *this;
}

Bytes ElfBuilder::Notes(std::string_view build_id) {
  Bytes notes;
  AppendNote(notes, "Xen", 6, "linux");
  AppendNote(notes, "GNU", NT_GNU_BUILD_ID, build_id);
  return notes;
}

ElfBuilder& ElfBuilder::AddBuildId(std::string_view id, uint64_t address) {
  const Bytes notes = Notes(id);
  const uint16_t section = AddSection(".notes", address, SHF_ALLOC, notes, SHT_NOTE);
  AddSymbol("__start_notes", section, address, 0, STT_NOTYPE);
  return AddSymbol("__stop_notes", section, address + notes.size(), 0, STT_NOTYPE);
}

ElfBuilder& ElfBuilder::AddSegment(uint16_t section, uint64_t extra) {
  segments_.push_back({section, extra});
  return *this;
}

Bytes ElfBuilder::Build() const {
  std::vector<Section> sections = sections_;
  if (!stripped_) {
    // Longer names first, so that the shorter find themselves in their tails.
    std::vector<std::string> names;
    for (const Symbol& symbol : symbols_) names.push_back(symbol.name);
    std::stable_sort(names.begin(), names.end(),
                     [](const auto& a, const auto& b) { return a.size() > b.size(); });
    Bytes strings = {0};
    for (const std::string& name : names) Intern(strings, name);
    Bytes table;
    Append(table, Elf64_Sym{});
    for (Symbol symbol : symbols_) {
      symbol.symbol.st_name = Intern(strings, symbol.name);
      Append(table, symbol.symbol);
    }
    Elf64_Shdr header = {};
    header.sh_type = SHT_SYMTAB;
    header.sh_size = table.size();
    header.sh_entsize = sizeof(Elf64_Sym);
    header.sh_link = sections.size() + 2;
    sections.push_back({".symtab", header, table});
    header = {};
    header.sh_type = SHT_STRTAB;
    header.sh_size = strings.size();
    sections.push_back({".strtab", header, strings});
  }
  sections.push_back({".shstrtab", {}, {}});
  Bytes section_names = {0};
  for (Section& section : sections) section.header.sh_name = Intern(section_names, section.name);
  sections.back().header.sh_type = SHT_STRTAB;
  sections.back().header.sh_size = section_names.size();
  sections.back().contents = section_names;

  Elf64_Ehdr header = {};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = type_;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = segments_.size();
  header.e_phoff = segments_.empty() ? 0 : sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = sections.size() + 1;
  header.e_shstrndx = sections.size();

  uint64_t offset = sizeof(Elf64_Ehdr) + segments_.size() * sizeof(Elf64_Phdr);
  for (Section& section : sections) {
    section.header.sh_offset = offset;
    offset += section.contents.size();
  }
  header.e_shoff = offset;

  Bytes file;
  Append(file, header);
  for (const Segment& segment : segments_) {
    const Elf64_Shdr& section = sections[segment.section - 1].header;
    Elf64_Phdr program = {};
    program.p_type = PT_LOAD;
    program.p_offset = section.sh_offset;
    program.p_vaddr = section.sh_addr;
    program.p_filesz = section.sh_type == SHT_NOBITS ? 0 : section.sh_size;
    program.p_memsz = section.sh_size + segment.extra;
    Append(file, program);
  }
  for (const Section& section : sections) {
    file.insert(file.end(), section.contents.begin(), section.contents.end());
  }
  Append(file, Elf64_Shdr{});
  for (const Section& section : sections) Append(file, section.header);
  return file;
}

}  // namespace watchsnap
