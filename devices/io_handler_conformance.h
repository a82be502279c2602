// IoHandlerConformance: what every IoHandler of every device must pass (vmm/io_handler.h).
//
//   INSTANTIATE_TEST_SUITE_P(Uart, IoHandlerConformance,
//       testing::Values(IoHandlerCase{"uart", [] { … return IoHandlerUnderTest{…}; }}),
//       IoHandlerCaseName);
//
// The concurrent test shows something under ThreadSanitizer, the hostile one under
// AddressSanitizer.
#ifndef WATCHSNAP_DEVICES_IO_HANDLER_CONFORMANCE_H_
#define WATCHSNAP_DEVICES_IO_HANDLER_CONFORMANCE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "vmm/io_handler.h"

namespace watchsnap {

struct IoHandlerUnderTest {
  std::shared_ptr<void> owner;  // keeps the handler, and what it needs, alive
  IoHandler* handler = nullptr;
  uint64_t size = 0;  // of its region
};

struct IoHandlerCase {
  std::string name;
  std::function<IoHandlerUnderTest()> make;
};

inline std::string IoHandlerCaseName(const testing::TestParamInfo<IoHandlerCase>& info) {
  return info.param.name;
}

class IoHandlerConformance : public testing::TestWithParam<IoHandlerCase> {
 protected:
  static constexpr uint64_t kWidths[] = {1, 2, 4, 8};
  // Every offset of a small region; of a large one its first and last pages, which is where
  // registers and edges are.
  static bool Interesting(uint64_t offset, uint64_t size) {
    return size <= 0x8000 || offset < 0x1100 || offset + 0x100 > size;
  }
  template <typename Visit>
  static void ForEachAccess(uint64_t size, Visit visit) {
    for (uint64_t width : kWidths) {
      for (uint64_t offset = 0; offset + width <= size; ++offset) {
        if (Interesting(offset, size)) visit(offset, width);
      }
    }
  }
  static void HostileAccesses(IoHandler& handler, uint64_t size, uint64_t seed, int count) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      const uint64_t width = std::min(kWidths[random() % 4], size);
      if ((width & (width - 1)) != 0) continue;
      // Half of them near the start, where the registers are.
      uint64_t span = size - width + 1;
      if (random() % 2 == 0) span = std::min<uint64_t>(span, 64);
      const uint64_t offset = random() % span;
      const uint64_t shapes[] = {random(), random() % 256, ~uint64_t{0}, 0};
      const uint64_t value = shapes[random() % 4];
      uint8_t bytes[8];
      for (int b = 0; b < 8; ++b) bytes[b] = static_cast<uint8_t>(value >> (8 * b));
      if (random() % 4 == 0) {
        handler.Read(offset, absl::MakeSpan(bytes, width));
      } else {
        handler.Write(offset, absl::MakeConstSpan(bytes, width));
      }
    }
  }
};

TEST_P(IoHandlerConformance, HasAName) {
  const IoHandlerUnderTest under_test = GetParam().make();
  EXPECT_FALSE(under_test.handler->Name().empty());
}

// A byte that a read leaves alone would leak the VMM's stack, or the access before, to the guest:
// such a byte keeps whatever it was filled with, and so follows two different fillings.
TEST_P(IoHandlerConformance, ReadsFillEveryByte) {
  const IoHandlerUnderTest first = GetParam().make();
  const IoHandlerUnderTest second = GetParam().make();  // same state, whatever reading changes
  ForEachAccess(first.size, [&](uint64_t offset, uint64_t width) {
    uint8_t a[10], b[10];
    std::fill(std::begin(a), std::end(a), 0x5a);
    std::fill(std::begin(b), std::end(b), 0xa5);
    first.handler->Read(offset, absl::MakeSpan(a + 1, width));
    second.handler->Read(offset, absl::MakeSpan(b + 1, width));
    for (uint64_t i = 0; i < width; ++i) {
      ASSERT_FALSE(a[1 + i] == 0x5a && b[1 + i] == 0xa5)
          << first.handler->Name() << ": byte " << i << " of a read of " << width << " at "
          << offset << " was not filled";
    }
    ASSERT_EQ(a[0], 0x5a) << "wrote before the span at " << offset;
    ASSERT_EQ(a[1 + width], 0x5a) << "wrote past the span at " << offset;
  });
}

TEST_P(IoHandlerConformance, TakesWritesOfEveryWidthEverywhere) {
  const IoHandlerUnderTest under_test = GetParam().make();
  const uint8_t ones[8] = {255, 255, 255, 255, 255, 255, 255, 255}, zeros[8] = {};
  ForEachAccess(under_test.size, [&](uint64_t offset, uint64_t width) {
    under_test.handler->Write(offset, absl::MakeConstSpan(ones, width));
    under_test.handler->Write(offset, absl::MakeConstSpan(zeros, width));
  });
  // Still there afterwards.
  uint8_t byte = 0;
  under_test.handler->Read(0, absl::MakeSpan(&byte, 1));
}

TEST_P(IoHandlerConformance, SurvivesHostileAccesses) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const IoHandlerUnderTest under_test = GetParam().make();
    HostileAccesses(*under_test.handler, under_test.size, seed, 4000);
  }
}

TEST_P(IoHandlerConformance, MayBeUsedByTwoVcpusAtOnce) {
  const IoHandlerUnderTest under_test = GetParam().make();
  std::thread other([&] { HostileAccesses(*under_test.handler, under_test.size, 101, 2000); });
  HostileAccesses(*under_test.handler, under_test.size, 102, 2000);
  other.join();
}

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_IO_HANDLER_CONFORMANCE_H_
