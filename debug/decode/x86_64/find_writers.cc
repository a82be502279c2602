// Lists the instructions of a vmlinux that name a variable as the place they store to, and checks
// on each that FindWriter, told only the address behind it, finds it again.
//
//   bazel run //debug/decode:find_writers -- VMLINUX SYMBOL…
//
// What the watch of a scenario should name as writers can be read here. With no symbol, every store
// of every function is found again: 1 if any answer was wrong (exact, but not the store itself).
// The text is the file's; a running kernel has alternatives patched in.
#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/log/check.h"
#include "debug/decode/store_shape.h"
#include "debug/decode/writer_decoder.h"
#include "debug/symbols/kernel_symbols.h"

namespace watchsnap {
namespace {

struct Totals {
  uint64_t functions = 0, broken = 0, stores = 0;
  uint64_t exact = 0, approximate = 0, unknown = 0, wrong = 0;
};

class Finder {
 public:
  explicit Finder(const KernelSymbols& kernel) : kernel_(kernel) {}

  // Visits every store of every function; with a `name`, those to the 8 bytes at `address`.
  void Walk(std::string_view name, uint64_t address) {
    const ElfSection* text = kernel_.elf().FindSection(".text");
    CHECK(text != nullptr);
    for (uint64_t at = text->address; at < text->address + text->size;) {
      const auto function = kernel_.Symbolize(at);
      if (!function.has_value()) {
        at += 1;
        continue;
      }
      ++totals_.functions;
      WalkFunction(*function, name, address);
      at = std::max(at + 1, function->address + function->size);
    }
  }

  const Totals& totals() const { return totals_; }

 private:
  void WalkFunction(const TextSymbol& function, std::string_view name, uint64_t address) {
    std::vector<uint8_t> code(function.size);
    if (!kernel_.elf().ReadAtKva(function.address, absl::MakeSpan(code)).ok()) return;
    for (uint64_t offset = 0; offset < code.size();) {
      const auto rest = absl::MakeConstSpan(code).subspan(offset);
      const size_t length = InstructionLength(rest);
      if (length == 0) {
        ++totals_.broken;
        if (name.empty()) {
          std::printf("undecodable: %s+0x%" PRIx64 "\n", std::string(function.name).c_str(),
                      offset);
        }
        return;
      }
      const auto shape = DecodeStoreShape(rest, function.address + offset);
      if (shape.has_value() && !shape->transfers) {
        const bool named = shape->address.has_value() && *shape->address < address + 8 &&
                           *shape->address + shape->store_bytes > address;
        if (name.empty() || named) {
          Check(function, function.address + offset, *shape, !name.empty());
        }
      }
      offset += length;
    }
  }

  void Check(const TextSymbol& function, uint64_t store, const StoreShape& shape, bool print) {
    const WriterTrap trap{.next_pc = store + shape.length,
                          .function_start = function.address,
                          .watched_address = shape.address.value_or(0xffff888000000000),
                          .watched_length = 4};
    const WriterInstruction writer =
        FindWriter(trap, [this](uint64_t kva, absl::Span<uint8_t> out) {
          return kernel_.elf().ReadAtKva(kva, out);
        });
    ++totals_.stores;
    switch (writer.confidence) {
      case WriterConfidence::kExact: ++totals_.exact; break;
      case WriterConfidence::kApproximate: ++totals_.approximate; break;
      case WriterConfidence::kUnknown: ++totals_.unknown; break;
    }
    const bool wrong =
        writer.confidence != WriterConfidence::kUnknown && writer.address != store;
    totals_.wrong += wrong ? 1 : 0;
    if (print || wrong) {
      std::printf("0x%" PRIx64 " %s+0x%" PRIx64 "  %s  (%s%s)\n", writer.address,
                  std::string(function.name).c_str(), store - function.address,
                  writer.text.c_str(),
                  std::string(WriterConfidenceName(writer.confidence)).c_str(),
                  wrong ? ", WRONG" : "");
    }
  }

  const KernelSymbols& kernel_;
  Totals totals_;
};

int Run(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s VMLINUX [SYMBOL…]\n", argv[0]);
    return 2;
  }
  const auto kernel = KernelSymbols::Open(argv[1]);
  if (!kernel.ok()) {
    std::fprintf(stderr, "%s\n", kernel.status().ToString().c_str());
    return 2;
  }
  Finder finder(**kernel);
  if (argc == 2) finder.Walk("", 0);
  for (int i = 2; i < argc; ++i) {
    const auto address = (*kernel)->AddressOf(argv[i]);
    if (!address.ok()) {
      std::fprintf(stderr, "%s\n", address.status().ToString().c_str());
      return 2;
    }
    std::printf("%s at 0x%" PRIx64 "\n", argv[i], *address);
    finder.Walk(argv[i], *address);
  }
  const Totals& t = finder.totals();
  std::printf("%" PRIu64 " functions (%" PRIu64 " with undecodable bytes), %" PRIu64
              " stores: %" PRIu64 " exact, %" PRIu64 " approximate, %" PRIu64 " unknown, %" PRIu64
              " wrong\n",
              t.functions, t.broken, t.stores, t.exact, t.approximate, t.unknown, t.wrong);
  return t.wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) { return watchsnap::Run(argc, argv); }
