#include "debug/types/btf_reader.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "debug/types/btf_source.h"
#include "debug/types/type_graph_builder.h"

namespace watchsnap {

using Graph = std::shared_ptr<const TypeGraph>;

absl::StatusOr<Graph> ReadBtf(absl::Span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                              BtfOptions options) {
  auto source = BtfSource::Create(bytes, options.name, options.base);
  if (!source.ok()) return source.status();
  TypeGraphBuilder builder(std::move(options.name), std::move(options.base));
  builder.SetStrings((*source)->strings());
  builder.KeepAlive(std::move(owner));
  return std::move(builder).BuildFrom(*std::move(source));
}

absl::StatusOr<Graph> ReadBtf(std::vector<uint8_t> bytes, BtfOptions options) {
  const auto owned = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
  return ReadBtf(absl::MakeConstSpan(*owned), owned, std::move(options));
}

absl::StatusOr<Graph> ReadBtfOfElf(const ElfFile& elf, std::shared_ptr<const void> owner,
                                   BtfOptions options) {
  const ElfSection* section = elf.FindSection(".BTF");
  if (section == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        elf.path(), " has no section .BTF; a kernel needs CONFIG_DEBUG_INFO_BTF, a BPF object "
                    "clang -g"));
  }
  if (options.name.empty()) options.name = absl::StrCat("the .BTF of ", elf.path());
  return ReadBtf(elf.Contents(*section), std::move(owner), std::move(options));
}

absl::StatusOr<Graph> ReadBtfOfElf(std::shared_ptr<const ElfFile> elf, BtfOptions options) {
  const ElfFile& file = *elf;
  return ReadBtfOfElf(file, std::move(elf), std::move(options));
}

}  // namespace watchsnap
