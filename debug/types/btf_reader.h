// Types from BTF: a kernel's, a module's, a BPF program's or a BPF object's.
//
//   ASSIGN_OR_RETURN(std::shared_ptr<const TypeGraph> kernel, ReadBtfOfElf(elf));
//   ASSIGN_OR_RETURN(auto program, ReadBtf(std::move(bytes), {.name = "prog 12's BTF"}));
//   ASSIGN_OR_RETURN(auto module, ReadBtf(std::move(bytes), {.name = "xfs BTF", .base = kernel}));
//
// The bytes may be anything: every offset, count and reference is checked, once, and an error says
// what stood where. One pass, a few ms for a kernel (5 MB, 120,000 types); types and names stay in the bytes, and a type is
// decoded when it is first asked for. Bytes that others change meanwhile (a file) can lose types, with a word in the log.
//
// Threads: pure functions. Errors: InvalidArgument for damaged BTF, Unimplemented for the other
// byte order and for kinds newer than this reader, NotFound for an ELF file without .BTF.
// Source of the format: the kernel's Documentation/bpf/btf.rst and include/uapi/linux/btf.h.
#ifndef WATCHSNAP_DEBUG_TYPES_BTF_READER_H_
#define WATCHSNAP_DEBUG_TYPES_BTF_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "debug/symbols/elf_file.h"
#include "debug/types/type_graph.h"

namespace watchsnap {

struct BtfOptions {
  std::string name = "BTF";  // for messages
  // Of split BTF (of a module): the types and strings it continues.
  std::shared_ptr<const TypeGraph> base = nullptr;
};

// Of bytes that the graph keeps.
absl::StatusOr<std::shared_ptr<const TypeGraph>> ReadBtf(std::vector<uint8_t> bytes,
                                                         BtfOptions options = {});
// Of bytes that live as long as `owner`, which the graph keeps alive; they are not copied.
absl::StatusOr<std::shared_ptr<const TypeGraph>> ReadBtf(absl::Span<const uint8_t> bytes,
                                                         std::shared_ptr<const void> owner,
                                                         BtfOptions options = {});
// Of the section .BTF, which stays in the file. `name` and `base` as above; without a name, the
// file's path.
absl::StatusOr<std::shared_ptr<const TypeGraph>> ReadBtfOfElf(std::shared_ptr<const ElfFile> elf,
                                                              BtfOptions options = {.name = ""});
// The same where something else owns the file (KernelSymbols).
absl::StatusOr<std::shared_ptr<const TypeGraph>> ReadBtfOfElf(const ElfFile& elf,
                                                              std::shared_ptr<const void> owner,
                                                              BtfOptions options = {.name = ""});

}  // namespace watchsnap

#endif  // WATCHSNAP_DEBUG_TYPES_BTF_READER_H_
