// One vCPU's registers and copied stacks as an ELF core that gdb reads: the independent opinion on
// a stack.
//   gdb -nx -batch vmlinux -ex 'core-file stack0.core' -ex bt
// Threads: any. Errors: false if a file could not be written. Testonly.
#ifndef WATCHSNAP_DEBUG_STACKS_X86_64_CORE_FILE_H_
#define WATCHSNAP_DEBUG_STACKS_X86_64_CORE_FILE_H_

#include <elf.h>
#include <sys/procfs.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "debug/stacks/stack_copy.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap {

// Writes PATH.core, and `text` to PATH.txt.
inline bool WriteCore(const std::string& path, const VcpuRegisters& vcpu, const StackCopy& stack,
                      const std::string& text) {
  elf_prstatus status = {};
  status.pr_pid = 1;
  const kvm_regs& r = vcpu.regs;
  // struct user_regs_struct: the order of ELF_NGREG words.
  const uint64_t words[] = {r.r15,    r.r14, r.r13,
                            r.r12,    r.rbp, r.rbx,
                            r.r11,    r.r10, r.r9,
                            r.r8,     r.rax, r.rcx,
                            r.rdx,    r.rsi, r.rdi,
                            r.rax,    r.rip, vcpu.sregs.cs.selector,
                            r.rflags, r.rsp, vcpu.sregs.ss.selector};
  std::memcpy(&status.pr_reg, words, sizeof words);

  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(1 + stack.parts().size());

  std::vector<uint8_t> contents;
  auto append = [&contents](const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    contents.insert(contents.end(), bytes, bytes + size);
  };
  const size_t contents_at = sizeof header + header.e_phnum * sizeof(Elf64_Phdr);
  std::vector<Elf64_Phdr> segments;
  const Elf64_Nhdr note = {.n_namesz = 5, .n_descsz = sizeof status, .n_type = NT_PRSTATUS};
  append(&note, sizeof note);
  append("CORE\0\0\0", 8);
  append(&status, sizeof status);
  segments.push_back(
      {.p_type = PT_NOTE, .p_offset = contents_at, .p_filesz = contents.size(), .p_align = 4});
  for (const StackCopy::Part& part : stack.parts()) {
    std::vector<uint8_t> bytes(part.size);
    if (!stack.Read(part.kva, absl::MakeSpan(bytes))) return false;
    segments.push_back({.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_W,
                        .p_offset = contents_at + contents.size(),
                        .p_vaddr = part.kva,
                        .p_filesz = part.size,
                        .p_memsz = part.size,
                        .p_align = 1});
    append(bytes.data(), bytes.size());
  }
  auto write = [](const std::string& name,
                  const std::vector<std::pair<const void*, size_t>>& pieces) {
    FILE* file = std::fopen(name.c_str(), "wb");
    if (file == nullptr) return false;
    bool ok = true;
    for (const auto& [data, size] : pieces) ok &= std::fwrite(data, 1, size, file) == size;
    return std::fclose(file) == 0 && ok;
  };
  return write(path + ".core", {{&header, sizeof header},
                                {segments.data(), segments.size() * sizeof segments[0]},
                                {contents.data(), contents.size()}}) &&
         write(path + ".txt", {{text.data(), text.size()}});
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_STACKS_X86_64_CORE_FILE_H_
