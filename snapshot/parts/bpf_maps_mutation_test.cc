// Kernels whose memory is damaged at random: whatever is there, a capture ends, within its limits.
#include <random>
#include <vector>

#include "debug/kernel/bpf_kernel_fake.h"
#include "gtest/gtest.h"
#include "snapshot/parts/bpf_maps_exercise.h"

namespace watchsnap {
namespace {

void AddMaps(BpfKernelFake& kernel) {
  BtfBuilder btf;
  const uint32_t u32 = btf.Int("unsigned int", 4);
  const uint32_t u64 = btf.Int("unsigned long", 8);
  const uint32_t bss = btf.DataSection(".bss", 8, {{btf.Variable("a", u64), 0, 8}});
  const uint64_t types = kernel.AddBtf(btf, 3);
  kernel.SetTypes(kernel.AddArray("a.bss", 8, 1), types, 0, bss);
  kernel.SetTypes(kernel.AddArray("array", 8, 5), types, u32, u64);
  for (const uint32_t type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH}) {
    const uint64_t table = kernel.AddTable("table", type, 4, 8);
    kernel.SetTypes(table, types, u32, u64);
    for (uint32_t i = 0; i < 6; ++i) {
      kernel.AddElement(table, i % 4, Bytes(i), Bytes(kernel.AllocatePerCpu(8)));
    }
  }
  const uint64_t storage = kernel.AddStorage("storage", BPF_MAP_TYPE_TASK_STORAGE, 8);
  for (uint32_t i = 0; i < 4; ++i) {
    kernel.AddStored(storage, i % 2, kernel.AddTask(static_cast<int32_t>(i), "task"),
                     Bytes(uint64_t{i}));
  }
  kernel.AddMap("ops", BPF_MAP_TYPE_STRUCT_OPS, 4, 16, 1);
}

TEST(BpfMapsMutation, DamagedKernels) {
  std::mt19937_64 random(1);
  BpfKernelFake whole;
  AddMaps(whole);
  const BpfLimits limits = ExerciseLimits();
  const size_t size = whole.memory.size();
  for (int round = 0; round < 300; ++round) {
    MemoryFake memory = whole.memory;
    for (int i = 0; i < 1 + round % 40; ++i) {
      const size_t at = random() % size;
      // A byte, or a pointer to somewhere else.
      if (random() % 2 == 0) {
        memory.Byte(at) = static_cast<uint8_t>(random());
      } else {
        const size_t from = random() % (size - 8);
        for (size_t b = 0; b < 8 && at + b < size; ++b) {
          memory.Byte(at + b) = memory.Byte(from + b);
        }
      }
    }
    BpfMapsPart part(whole.types(), whole.map_idr(), whole.per_cpu(), limits);
    ExerciseBpfMaps(part, memory);
    EXPECT_LT(memory.reads, 200'000u) << "round " << round;
  }
}

TEST(BpfMapsMutation, MemoryThatIsAllAnAttackers) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 100; ++round) {
    std::vector<uint8_t> bytes(1 + random() % 700);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    // Kernel pointers, into the same bytes.
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      if (random() % 3 != 0) continue;
      const uint64_t pointer = 0xffff'8880'0000'0000 | (random() & 0xfff'fff8) | (random() % 2 * 2);
      std::memcpy(bytes.data() + i, &pointer, 8);
    }
    ExerciseHostileMemory(bytes);
  }
}

}  // namespace
}  // namespace watchsnap
