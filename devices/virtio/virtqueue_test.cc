#include "devices/virtio/virtqueue.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

constexpr uint16_t kNext = 1, kWrite = 2, kIndirect = 4;
constexpr uint16_t kSize = 8;
constexpr uint64_t kDesc = 0x1000, kDriver = 0x2000, kDevice = 0x3000, kData = 0x4000,
                   kTable = 0x8000;

class VirtQueueTest : public testing::Test {
 protected:
  VirtQueueTest() : memory_(*GuestMemory::Create(2 << 20, 0xC000'0000)), queue_(*memory_) {}
  VirtQueue::Config Config() {
    return {.size = kSize,
            .desc_gpa = kDesc,
            .driver_gpa = kDriver,
            .device_gpa = kDevice,
            .indirect = true};
  }
  void Enable() { CHECK_OK(queue_.Enable(Config())); }
  template <typename T>
  void Put(uint64_t gpa, T value) {
    CHECK_OK(memory_->WriteObject(gpa, value));
  }
  template <typename T>
  T Get(uint64_t gpa) {
    return *memory_->ReadObject<T>(gpa);
  }
  void Descriptor(uint64_t table, int index, uint64_t address, uint32_t length, uint16_t flags = 0,
                  uint16_t next = 0) {
    Put<uint64_t>(table + 16 * index, address);
    Put<uint32_t>(table + 16 * index + 8, length);
    Put<uint16_t>(table + 16 * index + 12, flags);
    Put<uint16_t>(table + 16 * index + 14, next);
  }
  void Offer(uint16_t head) {
    Put<uint16_t>(kDriver + 4 + 2 * (available_ % kSize), head);
    Put<uint16_t>(kDriver + 2, ++available_);
  }
  void ExpectBroken(std::string_view why) {
    absl::StatusOr<bool> popped = queue_.Pop(&chain_);
    ASSERT_FALSE(popped.ok());
    EXPECT_NE(popped.status().message().find(why), std::string::npos) << popped.status();
  }

  std::unique_ptr<GuestMemory> memory_;
  VirtQueue queue_;
  DescriptorChain chain_;
  uint16_t available_ = 0;
};

TEST_F(VirtQueueTest, WalksAChainOfReadableAndWritableParts) {
  Enable();
  Descriptor(kDesc, 3, kData, 5, kNext, 6);
  Descriptor(kDesc, 6, kData + 0x100, 7, kNext, 1);
  Descriptor(kDesc, 1, kData + 0x200, 9, kWrite);
  CHECK_OK(memory_->Write(kData, absl::MakeConstSpan((const uint8_t*)"hello", 5)));
  CHECK_OK(memory_->Write(kData + 0x100, absl::MakeConstSpan((const uint8_t*)", world", 7)));
  Offer(3);
  EXPECT_TRUE(*queue_.Pop(&chain_));
  std::string text;
  chain_.AppendTo(text);
  EXPECT_EQ(text, "hello, world");
  EXPECT_EQ(chain_.ReadableBytes(), 12u);
  EXPECT_EQ(chain_.WritableBytes(), 9u);
  const std::vector<uint8_t> answer(20, 'a');
  EXPECT_EQ(chain_.CopyFrom(answer), 9u) << "as much as there is room for";
  queue_.Push(chain_, 9);
  EXPECT_EQ(Get<uint16_t>(kDevice + 2), 1);
  EXPECT_EQ(Get<uint32_t>(kDevice + 4), 3u);
  EXPECT_EQ(Get<uint32_t>(kDevice + 8), 9u);
  EXPECT_EQ(Get<uint8_t>(kData + 0x208), 'a');
  EXPECT_EQ(Get<uint8_t>(kData + 0x209), 0);
  EXPECT_FALSE(*queue_.Pop(&chain_));
}

TEST_F(VirtQueueTest, FollowsAnIndirectTable) {
  Enable();
  Descriptor(kDesc, 0, kTable, 48, kIndirect);
  Descriptor(kTable, 0, kData, 1, kNext, 2);
  Descriptor(kTable, 2, kData + 16, 2, kNext | kWrite, 1);
  Descriptor(kTable, 1, kData + 32, 4, kWrite);
  Offer(0);
  EXPECT_TRUE(*queue_.Pop(&chain_));
  EXPECT_EQ(chain_.ReadableBytes(), 1u);
  EXPECT_EQ(chain_.WritableBytes(), 6u);
}

TEST_F(VirtQueueTest, IndicesWrap) {
  Enable();
  Descriptor(kDesc, 0, kData, 1);
  for (int i = 0; i < 0x10000 + 5; ++i) {
    Offer(0);
    ASSERT_TRUE(*queue_.Pop(&chain_));
    queue_.Push(chain_, 0);
  }
  EXPECT_EQ(Get<uint16_t>(kDevice + 2), 5);
}

TEST_F(VirtQueueTest, RefusesRingsThatAreNotThere) {
  VirtQueue::Config config = Config();
  config.size = 6;
  EXPECT_FALSE(queue_.Enable(config).ok());
  config = Config();
  config.size = 0;
  EXPECT_FALSE(queue_.Enable(config).ok());
  for (auto field : {&VirtQueue::Config::desc_gpa, &VirtQueue::Config::driver_gpa,
                     &VirtQueue::Config::device_gpa}) {
    config = Config();
    config.*field = (2 << 20) - 16;  // the ring ends behind memory
    EXPECT_FALSE(queue_.Enable(config).ok());
    config.*field = ~uint64_t{15};  // and here its end wraps
    EXPECT_FALSE(queue_.Enable(config).ok());
    config.*field = 0x1001;
    EXPECT_FALSE(queue_.Enable(config).ok()) << "not aligned";
  }
  EXPECT_FALSE(queue_.enabled());
}

TEST_F(VirtQueueTest, AHeadOutsideTheTableBreaks) {
  Enable();
  Offer(kSize);
  ExpectBroken("outside its table");
}

TEST_F(VirtQueueTest, AnIndexThatRunsAheadBreaks) {
  Enable();
  Put<uint16_t>(kDriver + 2, kSize + 1);
  ExpectBroken("offers 9 chains in a ring of 8");
}

TEST_F(VirtQueueTest, ALoopBreaks) {
  Enable();
  Descriptor(kDesc, 0, kData, 1, kNext, 1);
  Descriptor(kDesc, 1, kData, 1, kNext, 0);
  Offer(0);
  ExpectBroken("loop");
}

TEST_F(VirtQueueTest, ABufferOutsideMemoryBreaks) {
  Enable();
  Descriptor(kDesc, 0, (2 << 20) - 8, 9);
  Offer(0);
  ExpectBroken("not in guest memory");
}

TEST_F(VirtQueueTest, ABufferThatWrapsBreaks) {
  Enable();
  Descriptor(kDesc, 0, ~uint64_t{0}, 0xffffffff, kWrite);
  Offer(0);
  ExpectBroken("not in guest memory");
}

TEST_F(VirtQueueTest, ANextOutsideTheTableBreaks) {
  Enable();
  Descriptor(kDesc, 0, kData, 1, kNext, 0xffff);
  Offer(0);
  ExpectBroken("outside its table");
}

TEST_F(VirtQueueTest, AReadablePartAfterAWritableOneBreaks) {
  Enable();
  Descriptor(kDesc, 0, kData, 1, kNext | kWrite, 1);
  Descriptor(kDesc, 1, kData, 1);
  Offer(0);
  ExpectBroken("follows a writable one");
}

TEST_F(VirtQueueTest, BadIndirectTablesBreak) {
  const struct {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
  } tables[] = {
      {kTable, 0, kIndirect},           {kTable, 17, kIndirect},
      {(2 << 20) - 16, 32, kIndirect},  {kTable, 16, kIndirect | kNext},
      {~uint64_t{15}, 16, kIndirect},
  };
  for (const auto& table : tables) {
    available_ = 0;
    Enable();
    Descriptor(kDesc, 0, table.address, table.length, table.flags);
    Offer(0);
    EXPECT_FALSE(queue_.Pop(&chain_).ok()) << table.address << " " << table.length;
  }
}

TEST_F(VirtQueueTest, NestedAndUnnegotiatedIndirectTablesBreak) {
  Enable();
  Descriptor(kDesc, 0, kTable, 16, kIndirect);
  Descriptor(kTable, 0, kTable, 16, kIndirect);
  Offer(0);
  ExpectBroken("nested");
  VirtQueue::Config config = Config();
  config.indirect = false;
  CHECK_OK(queue_.Enable(config));
  Descriptor(kTable, 0, kData, 1);
  ExpectBroken("not negotiated");
}

TEST_F(VirtQueueTest, EmptyPartsAreSkipped) {
  Enable();
  Descriptor(kDesc, 0, ~uint64_t{0}, 0, kWrite);
  Offer(0);
  EXPECT_TRUE(*queue_.Pop(&chain_));
  EXPECT_TRUE(chain_.writable.empty());
}

TEST_F(VirtQueueTest, InterruptsFollowTheDriversFlag) {
  Enable();
  EXPECT_FALSE(queue_.TakeInterruptRequest()) << "nothing was pushed";
  Descriptor(kDesc, 0, kData, 1);
  Offer(0);
  ASSERT_TRUE(*queue_.Pop(&chain_));
  queue_.Push(chain_, 0);
  EXPECT_TRUE(queue_.TakeInterruptRequest());
  EXPECT_FALSE(queue_.TakeInterruptRequest()) << "only once";
  Put<uint16_t>(kDriver, 1);
  queue_.Push(chain_, 0);
  EXPECT_FALSE(queue_.TakeInterruptRequest());
}

TEST_F(VirtQueueTest, InterruptsFollowTheEventIndex) {
  VirtQueue::Config config = Config();
  config.event_idx = true;
  CHECK_OK(queue_.Enable(config));
  const uint64_t used_event = kDriver + 4 + 2 * kSize, avail_event = kDevice + 4 + 8 * kSize;
  EXPECT_FALSE(*queue_.Pop(&chain_));
  EXPECT_EQ(Get<uint16_t>(avail_event), 0) << "ring at the first buffer";
  Descriptor(kDesc, 0, kData, 1);
  for (int i = 0; i < 3; ++i) Offer(0);
  Put<uint16_t>(used_event, 1);  // after the second
  ASSERT_TRUE(*queue_.Pop(&chain_));
  queue_.Push(chain_, 0);
  EXPECT_FALSE(queue_.TakeInterruptRequest());
  ASSERT_TRUE(*queue_.Pop(&chain_));
  queue_.Push(chain_, 0);
  EXPECT_TRUE(queue_.TakeInterruptRequest());
  ASSERT_TRUE(*queue_.Pop(&chain_));
  queue_.Push(chain_, 0);
  EXPECT_FALSE(queue_.TakeInterruptRequest());
  EXPECT_FALSE(*queue_.Pop(&chain_));
  EXPECT_EQ(Get<uint16_t>(avail_event), 3);
}

}  // namespace
}  // namespace watchsnap
