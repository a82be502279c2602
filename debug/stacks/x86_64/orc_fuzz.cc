// libFuzzer target: any bytes as a vmlinux with an unwind table, and as the stack that is unwound
// with it.
//   bazel run --config=fuzz //debug/stacks:orc_fuzz -- -max_total_time=60
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "debug/stacks/format_stack.h"
#include "debug/stacks/x86_64/orc_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using watchsnap::x86_64::OrcBuilder;
  // The first half becomes the table's entries at consecutive addresses, all of it the stack.
  constexpr uint64_t kStack = 0xffffc90000100000;
  OrcBuilder orc;
  orc.Function("f", 0, OrcBuilder::kTextSize);
  for (size_t at = 0; at + 6 <= size / 2 && at < 6 * 1024; at += 6) {
    watchsnap::x86_64::RawOrc entry;
    std::memcpy(&entry.sp_offset, data + at, 2);
    std::memcpy(&entry.bp_offset, data + at + 2, 2);
    entry.sp = data[at + 4] & 0xf;
    entry.bp = data[at + 4] >> 4;
    entry.type = data[at + 5] & 7;
    entry.signal = (data[at + 5] & 8) != 0;
    orc.Entry(at / 6 * 16, entry);
  }
  const auto kernel = orc.Kernel();
  const auto unwinder = watchsnap::StackUnwinder::Create(kernel);
  if (!unwinder.ok()) return 0;
  for (uint64_t pc = OrcBuilder::kText; pc < OrcBuilder::kText + 64; pc += 16) {
    const watchsnap::UnwoundStack stack = (*unwinder)->Unwind(
        {.registers = {.pc = pc, .sp = kStack, .bp = kStack + 64}},
        [data, size](uint64_t kva, absl::Span<uint8_t> out) {
          if (kva < kStack || kva - kStack > size || out.size() > size - (kva - kStack))
            return false;
          std::memcpy(out.data(), data + (kva - kStack), out.size());
          return true;
        });
    CHECK_LE(stack.frames.size(), 128u);
    CHECK(!FormatStack(stack, *kernel, 0).empty());
  }
  return 0;
}
