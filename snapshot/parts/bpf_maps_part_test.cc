#include "snapshot/parts/bpf_maps_part.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "debug/kernel/bpf_kernel_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class BpfMapsPartTest : public testing::Test {
 protected:
  BpfMapsPartTest() : part_(Part({})) {}

  std::unique_ptr<BpfMapsPart> Part(const BpfLimits& limits) {
    return std::make_unique<BpfMapsPart>(kernel_.types(), kernel_.map_idr(), kernel_.per_cpu(),
                                         limits);
  }
  // The JSON of `maps`; what is degraded is kept.
  std::string Capture() {
    part_->Copy({}, kernel_.memory);
    Report report;
    part_->Render({}, kernel_.memory, report);
    degraded_ = report.degraded;
    const std::string* maps = FindMember(report.more, "maps");
    return maps == nullptr ? "" : *maps;
  }
  std::vector<std::string> Why(std::string_view what) const {
    std::vector<std::string> why;
    for (const Degraded& one : degraded_) {
      if (one.what == what) why.push_back(one.why);
    }
    return why;
  }

  BpfKernelFake kernel_;
  std::unique_ptr<BpfMapsPart> part_;
  std::vector<Degraded> degraded_;
};

TEST_F(BpfMapsPartTest, AKernelWithoutMaps) {
  EXPECT_EQ(Capture(), "{}");
  EXPECT_THAT(degraded_, IsEmpty());
}

TEST_F(BpfMapsPartTest, AnArrayWithoutTypes) {
  const uint64_t map = kernel_.AddArray("plain", 3, 2);
  kernel_.memory.PutString(map + BpfKernelFake::kValueAt, "abc");
  kernel_.memory.PutString(map + BpfKernelFake::kValueAt + 8, "def");
  EXPECT_EQ(Capture(),
            R"({"plain":{"id":1,"type":"array","key_size":4,"value_size":3,"max_entries":2,)"
            R"("entries":[{"key":0,"value":"hex:616263"},{"key":1,"value":"hex:646566"}],)"
            R"("entries_total":2}})");
  EXPECT_THAT(degraded_, IsEmpty());
}

// A program's types: a pair for values, and the section .bss with two variables.
struct Program {
  BtfBuilder btf;
  uint32_t u32 = btf.Int("unsigned int", 4);
  uint32_t u64 = btf.Int("unsigned long", 8);
  uint32_t pair = btf.Struct("pair", 16, {{"hits", u64, 0}, {"misses", u64, 64}});
  uint32_t bss =
      btf.DataSection(".bss", 16, {{btf.Variable("nr_a", u64), 0, 8}, {btf.Variable("nr_b", u32), 8, 4}});
};

TEST_F(BpfMapsPartTest, AHashTableByItsTypes) {
  const Program program;
  const uint64_t map = kernel_.AddTable("counters", BPF_MAP_TYPE_LRU_HASH, 4, 16);
  kernel_.SetTypes(map, kernel_.AddBtf(program.btf, 5), program.u32, program.pair);
  std::vector<uint8_t> value = Bytes(uint64_t{70});
  const std::vector<uint8_t> misses = Bytes(uint64_t{2});
  value.insert(value.end(), misses.begin(), misses.end());
  kernel_.AddElement(map, 1, Bytes(7u), value);
  EXPECT_THAT(Capture(), AllOf(HasSubstr(R"("type":"lru_hash")"),
                               HasSubstr(R"("entries":[{"key":7,"value":{"hits":70,"misses":2}}],)"
                                         R"("entries_total":1)")));
  EXPECT_THAT(degraded_, IsEmpty());
}

TEST_F(BpfMapsPartTest, AGlobalSectionIsAnObjectOfItsVariables) {
  const Program program;
  const uint64_t map = kernel_.AddArray("mini.bss", 16, 1);
  kernel_.SetTypes(map, kernel_.AddBtf(program.btf, 5), 0, program.bss);
  kernel_.memory.Put<uint64_t>(map + BpfKernelFake::kValueAt, 11);
  kernel_.memory.Put<uint32_t>(map + BpfKernelFake::kValueAt + 8, 22);
  const std::string maps = Capture();
  EXPECT_THAT(maps, HasSubstr(R"("value":{"nr_a":11,"nr_b":22}})"));
  EXPECT_THAT(maps, Not(HasSubstr("\"entries\"")));
}

TEST_F(BpfMapsPartTest, PerCpuValuesByCpu) {
  const Program program;
  const uint64_t btf = kernel_.AddBtf(program.btf, 5);
  const uint64_t array = kernel_.AddMap("percpu", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 1);
  const uint64_t table = kernel_.AddTable("both", BPF_MAP_TYPE_PERCPU_HASH, 4, 8);
  kernel_.SetTypes(array, btf, program.u32, program.u64);
  kernel_.SetTypes(table, btf, program.u32, program.u64);
  const uint64_t values = kernel_.AllocatePerCpu(8);
  kernel_.memory.Put<uint64_t>(array + BpfKernelFake::kValueAt, values);
  kernel_.AddElement(table, 0, Bytes(3u), Bytes(values));
  kernel_.memory.Put<uint64_t>(values + BpfKernelFake::kOffsets[0], 100);
  kernel_.memory.Put<uint64_t>(values + BpfKernelFake::kOffsets[1], 200);
  EXPECT_THAT(Capture(), AllOf(HasSubstr(R"("entries":[{"key":0,"values":[100,200]}])"),
                               HasSubstr(R"("entries":[{"key":3,"values":[100,200]}])")));
  EXPECT_THAT(degraded_, IsEmpty());
}

TEST_F(BpfMapsPartTest, TaskStorageByPid) {
  const uint64_t map = kernel_.AddStorage("stats", BPF_MAP_TYPE_TASK_STORAGE, 2);
  const uint64_t task = kernel_.AddTask(42, "worker");
  kernel_.AddStored(map, 0, task, {1, 2});
  kernel_.AddStored(map, 1, 0, {3, 4});
  EXPECT_THAT(Capture(),
              HasSubstr(absl::StrCat(
                  R"("entries":[{"key":42,"task":{"address":"0x)", absl::Hex(task),
                  R"(","pid":42,"comm":"worker"},"value":"hex:0102"},{"key":"0x0","value":"hex:0304"}])")));
}

TEST_F(BpfMapsPartTest, StructOpsByTheKernelsTypes) {
  const uint64_t map = kernel_.AddMap("ops", BPF_MAP_TYPE_STRUCT_OPS, 4, 16, 1);
  kernel_.memory.Put<uint32_t>(
      map + 48, *kernel_.types()->Find("struct bpf_struct_ops_scheduler"));
  kernel_.memory.Put<uint32_t>(map + BpfKernelFake::kStructOpsAt, 2);
  kernel_.memory.Put<uint64_t>(map + BpfKernelFake::kStructOpsAt + 8, 0xffffffffc0001000);
  EXPECT_THAT(Capture(),
              HasSubstr(R"("entries":[{"key":0,"value":{"state":2,"enqueue":"0xffffffffc0001000"}}])"));
}

TEST_F(BpfMapsPartTest, OtherKindsAreNamedAndSaidToBeLeftOut) {
  kernel_.AddMap("events", BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
  EXPECT_EQ(Capture(), R"({"events":{"id":1,"type":"ringbuf","key_size":0,"value_size":0,)"
                       R"("max_entries":4096}})");
  EXPECT_THAT(Why("maps[\"events\"]"), ElementsAre(HasSubstr("not captured")));
}

TEST_F(BpfMapsPartTest, MapsOfOneNameAreToldApartByTheirId) {
  kernel_.AddArray("same", 1, 0);
  kernel_.AddArray("same", 1, 0);
  kernel_.AddArray("", 1, 0);
  EXPECT_THAT(Capture(), AllOf(StartsWith("{\"same\":{\"id\":1"), HasSubstr("\"same#2\":{\"id\":2"),
                               HasSubstr("\"#3\":{\"id\":3")));
}

TEST_F(BpfMapsPartTest, TypesAreCopiedOnce) {
  const Program program;
  const uint64_t map = kernel_.AddArray("a", 16, 1);
  const uint64_t btf = kernel_.AddBtf(program.btf, 5);
  kernel_.SetTypes(map, btf, program.u32, program.pair);
  kernel_.memory.bytes = 0;
  part_->Copy({}, kernel_.memory);
  const uint64_t first = kernel_.memory.bytes;
  Capture();
  kernel_.memory.bytes = 0;
  part_->Copy({}, kernel_.memory);
  EXPECT_EQ(first - kernel_.memory.bytes, program.btf.Bytes().size());
  // Gone from memory, and still known.
  uint64_t data = 0;
  kernel_.memory.Load(btf, data);
  kernel_.memory.Unmap(data);
  EXPECT_THAT(Capture(), HasSubstr(R"({"hits":0,"misses":0})"));
}

TEST_F(BpfMapsPartTest, TypesOfTheKernelItself) {
  const uint64_t map = kernel_.AddArray("a", 32, 1);
  kernel_.SetTypes(map, kernel_.AddKernelBtf(), 0, *kernel_.types()->Find("struct task_struct"));
  EXPECT_THAT(Capture(), HasSubstr(R"("value":{"pid":0,"comm":""})"));
}

TEST_F(BpfMapsPartTest, TypesThatContinueTheKernels) {
  BtfBuilder module = BtfBuilder::Continuing(kernel_.btf());
  const uint32_t pid = *kernel_.types()->Find("int");
  const uint32_t pair = module.Struct("pair", 8, {{"a", pid, 0}, {"b", pid, 32}});
  const uint64_t map = kernel_.AddArray("a", 8, 1);
  kernel_.memory.Put<uint32_t>(map + BpfKernelFake::kValueAt + 4, 9);
  kernel_.SetTypes(map, kernel_.AddBtf(module, 6, kernel_.AddKernelBtf()), 0, pair);
  EXPECT_THAT(Capture(), HasSubstr(R"("value":{"a":0,"b":9})"));
}

TEST_F(BpfMapsPartTest, DamagedTypesGiveRawBytesAndSayWhy) {
  const uint64_t map = kernel_.AddArray("a", 4, 1);
  const uint64_t btf = kernel_.AddBtf(BtfBuilder(), 5);
  kernel_.SetTypes(map, btf, 1, 1);
  uint64_t data = 0;
  kernel_.memory.Load(btf, data);
  kernel_.memory.Put<uint32_t>(data, 0);
  EXPECT_THAT(Capture(), HasSubstr(R"("value":"hex:00000000")"));
  EXPECT_THAT(Why("maps[\"a\"]"), ElementsAre(StartsWith("raw bytes only: ")));
  kernel_.memory.Put<uint32_t>(btf + 8, 0xffffffff);  // a hostile size
  EXPECT_THAT(Capture(), HasSubstr(R"("value":"hex:00000000")"));
}

TEST_F(BpfMapsPartTest, ATypeOfAnotherSizeIsNotBelieved) {
  const Program program;
  const uint64_t map = kernel_.AddArray("a", 8, 1);
  kernel_.SetTypes(map, kernel_.AddBtf(program.btf, 5), program.u32, program.pair);
  EXPECT_THAT(Capture(), HasSubstr(R"("value":"hex:0000000000000000")"));
  kernel_.SetTypes(map, kernel_.AddBtf(program.btf, 6), 0xffffffff, 0xfffffff0);
  EXPECT_THAT(Capture(), HasSubstr(R"("value":"hex:0000000000000000")"));
}

TEST_F(BpfMapsPartTest, LimitsAreSaidWhereTheyCut) {
  part_ = Part({.max_entries = 2});
  kernel_.AddArray("array", 8, 3);
  const uint64_t map = kernel_.AddTable("table", BPF_MAP_TYPE_HASH, 4, 8);
  for (uint32_t i = 0; i < 3; ++i) kernel_.AddElement(map, i, Bytes(i), Bytes(uint64_t{i}));
  const std::string maps = Capture();
  EXPECT_THAT(maps, HasSubstr(R"({"key":1,"value":"hex:0000000000000000"}],"entries_total":3})"));
  EXPECT_THAT(Why("maps[\"array\"]"),
              ElementsAre(AllOf(HasSubstr("2 of 3"), HasSubstr("limit of entries of one map"))));
  EXPECT_THAT(Why("maps[\"table\"]"), ElementsAre(HasSubstr("the first 2 entries")));
}

TEST_F(BpfMapsPartTest, WhereTheKernelCountsATablesEntriesTheTotalIsKnown) {
  part_ = Part({.max_entries = 1});
  const uint64_t map = kernel_.AddTable("table", BPF_MAP_TYPE_HASH, 4, 8);
  const uint64_t counts = kernel_.AllocatePerCpu(8);
  kernel_.memory.Put<uint64_t>(map + 72, counts);
  kernel_.memory.Put<int64_t>(counts + BpfKernelFake::kOffsets[0], 5);
  kernel_.memory.Put<int64_t>(counts + BpfKernelFake::kOffsets[1], -2);
  for (uint32_t i = 0; i < 3; ++i) kernel_.AddElement(map, i, Bytes(i), Bytes(uint64_t{i}));
  EXPECT_THAT(Capture(), HasSubstr("\"entries_total\":3"));
  EXPECT_THAT(Why("maps[\"table\"]"), ElementsAre(HasSubstr("1 of 3")));
}

TEST_F(BpfMapsPartTest, BytesOfAMapAndOfAllAreLimited) {
  part_ = Part({.max_map_bytes = 100, .max_total_bytes = 150});
  kernel_.AddArray("one", 8, 100);
  kernel_.AddArray("two", 8, 100);
  Capture();
  EXPECT_THAT(Why("maps[\"one\"]"),
              ElementsAre(AllOf(HasSubstr("13 of 100"), HasSubstr("bytes of one map"))));
  EXPECT_THAT(Why("maps[\"two\"]"),
              ElementsAre(AllOf(HasSubstr("7 of 100"), HasSubstr("bytes of all maps"))));
}

TEST_F(BpfMapsPartTest, AValueThatIsCutIsSaid) {
  part_ = Part({.max_map_bytes = 4});
  kernel_.AddArray("big", 8, 1);
  EXPECT_THAT(Capture(), HasSubstr(R"("value":"hex:00000000")"));
  EXPECT_THAT(Why("maps[\"big\"].entries[0].value"), ElementsAre(HasSubstr("of its 8 bytes 4")));
}

TEST_F(BpfMapsPartTest, ListsThatRunInACircleEnd) {
  const uint64_t map = kernel_.AddTable("round", BPF_MAP_TYPE_HASH, 4, 8);
  const uint64_t last = kernel_.AddElement(map, 0, Bytes(1u), Bytes(uint64_t{1}));
  const uint64_t first = kernel_.AddElement(map, 0, Bytes(2u), Bytes(uint64_t{2}));
  kernel_.memory.Put<uint64_t>(last, first);
  kernel_.AddElement(map, 1, Bytes(3u), Bytes(uint64_t{3}));
  const std::string maps = Capture();
  EXPECT_THAT(maps, HasSubstr("hex:03000000"));
  EXPECT_LT(std::count(maps.begin(), maps.end(), '{'), 10);
  EXPECT_THAT(Why("maps[\"round\"]"), ElementsAre(HasSubstr("1 of its lists")));
}

TEST_F(BpfMapsPartTest, PointersIntoNothingAndIntoUserSpaceEndAList) {
  const uint64_t map = kernel_.AddTable("loose", BPF_MAP_TYPE_HASH, 4, 8);
  kernel_.memory.Put<uint64_t>(kernel_.FirstAt(map, 0), 0xffff'8880'dead'0000);
  kernel_.memory.Put<uint64_t>(kernel_.FirstAt(map, 1), 0x4000);
  kernel_.AddElement(map, 2, Bytes(3u), Bytes(uint64_t{3}));
  EXPECT_THAT(Capture(), AllOf(HasSubstr("hex:03000000"), HasSubstr("\"entries_total\":1")));
  EXPECT_THAT(Why("maps[\"loose\"]"), ElementsAre(HasSubstr("2 of its lists")));
}

TEST_F(BpfMapsPartTest, HostileSizesCutAndDoNotOverflow) {
  kernel_.AddTable("keys", BPF_MAP_TYPE_HASH, 0xffffffff, 8);
  kernel_.AddTable("values", BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 0xffffffff);
  kernel_.AddTable("buckets", BPF_MAP_TYPE_HASH, 4, 4);
  kernel_.memory.Put<uint32_t>(kernel_.AddTable("more", BPF_MAP_TYPE_HASH, 4, 4) +
                                   BpfKernelFake::kTableAt + 8,
                               0xffffffff);
  kernel_.AddMap("array", BPF_MAP_TYPE_ARRAY, 4, 0xffffffff, 0xffffffff);
  kernel_.AddMap("cpus", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0xffffffff, 0xffffffff);
  kernel_.AddMap("storage", BPF_MAP_TYPE_TASK_STORAGE, 4, 0xffffffff, 0);
  kernel_.AddMap("ops", BPF_MAP_TYPE_STRUCT_OPS, 4, 0xffffffff, 1);
  Capture();
  for (const char* name : {"keys", "more", "array", "cpus", "storage", "ops"}) {
    EXPECT_THAT(degraded_, Contains(Field(&Degraded::what,
                                          StartsWith(absl::StrCat("maps[\"", name, "\"]")))));
  }
}

TEST_F(BpfMapsPartTest, ADamagedIndexIsSaidAndEnds) {
  const uint64_t map = kernel_.AddArray("here", 1, 1);
  const uint64_t self = kernel_.AddNode(6, {{1, map}});
  kernel_.memory.Put<uint64_t>(self - 2 + BpfKernelFake::kSlotsAt, self);  // slot 0 is the node
  kernel_.SetRoot(self);
  EXPECT_THAT(Capture(), HasSubstr("\"here\""));
  EXPECT_THAT(Why("maps"), ElementsAre(HasSubstr("1 entries of map_idr")));
  kernel_.SetRoot(0xffff'8880'dead'0002);
  EXPECT_EQ(Capture(), "{}");
  EXPECT_THAT(Why("maps"), ElementsAre(HasSubstr("1 entries of map_idr")));
  kernel_.SetRoot(0xffff'8880'dead'0000);  // a map that is not there
  EXPECT_EQ(Capture(), "{}");
}

TEST_F(BpfMapsPartTest, AnIndexOfTwoLevels) {
  const uint64_t a = kernel_.AddArray("a", 1, 0);
  const uint64_t b = kernel_.AddArray("b", 1, 0);
  kernel_.SetRoot(kernel_.AddNode(6, {{0, kernel_.AddNode(0, {{1, a}})},
                                      {63, kernel_.AddNode(0, {{63, b}, {5, 0x1001}})}}));
  EXPECT_THAT(Capture(), AllOf(HasSubstr("\"a\""), HasSubstr("\"b\"")));
  EXPECT_THAT(degraded_, IsEmpty());
  kernel_.SetRoot(a);  // an index of one entry has no node
  EXPECT_THAT(Capture(), AllOf(HasSubstr("\"a\""), Not(HasSubstr("\"b\""))));
}

TEST_F(BpfMapsPartTest, MoreMapsThanTheLimit) {
  part_ = Part({.max_maps = 1});
  kernel_.AddArray("a", 1, 0);
  kernel_.AddArray("b", 1, 0);
  EXPECT_THAT(Capture(), Not(HasSubstr("\"b\"")));
  EXPECT_THAT(Why("maps"), ElementsAre("there are more than 1"));
}

TEST_F(BpfMapsPartTest, ALargeArrayIsOneCopy) {
  part_ = Part({});
  kernel_.AddArray("large", 8, 16'000);
  kernel_.memory.takes = kernel_.memory.reads = 0;
  part_->Copy({}, kernel_.memory);
  EXPECT_EQ(kernel_.memory.takes, 1u);
  EXPECT_LT(kernel_.memory.reads, 10u);
}

}  // namespace
}  // namespace watchsnap
