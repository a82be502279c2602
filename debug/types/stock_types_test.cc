// The stock kernel's types, from its .BTF and from its DWARF, against what gdb says of them.
//   stock_types_test VMLINUX
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "debug/symbols/elf_file.h"
#include "debug/types/btf_reader.h"
#include "debug/types/dwarf_types.h"
#include "debug/types/gdb_layout.h"
#include "debug/types/layout_compare.h"
#include "debug/types/member_path.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

std::string& VmlinuxPath() {
  static std::string path;
  return path;
}

// Named structs and unions of each sort, evenly over the kernel, and some that everybody knows.
class TypeChoice {
 public:
  explicit TypeChoice(const TypeGraph& graph) : graph_(graph) {}

  std::vector<std::string> Choose() {
    for (const char* name :
         {"struct task_struct", "struct rq", "struct page", "struct mm_struct", "struct sk_buff",
          "struct inode", "struct sched_entity", "struct perf_event_attr", "struct pt_regs",
          "union sigval", "struct bpf_map", "struct timekeeper"}) {
      names_.insert(name);
    }
    Take(100, [&](const Type& type) {
      return std::any_of(type.members().begin(), type.members().end(),
                         [](const Member& member) { return member.bitfield_size != 0; });
    });
    Take(60, [](const Type& type) { return type.kind == TypeKind::kUnion; });
    Take(80, [&](const Type& type) {
      return std::any_of(type.members().begin(), type.members().end(),
                         [](const Member& member) { return member.name().empty(); });
    });
    Take(60, [](const Type& type) { return type.members().size() > 3; });
    return {names_.begin(), names_.end()};
  }

 private:
  // A name that stands for one type: gdb takes any of several.
  bool IsUnique(const Type& type) const {
    return !type.name().empty() && graph_.FindAll(type.kind, type.name()).size() == 1 &&
           graph_.FindAll(TypeKind::kForward, type.name()).empty();
  }

  template <typename Wanted>
  void Take(size_t count, Wanted wanted) {
    std::vector<TypeId> ids;
    for (TypeId id = 1; id < graph_.size(); ++id) {
      const Type& type = graph_.type(id);
      if (type.IsStructOrUnion() && IsUnique(type) && wanted(type)) ids.push_back(id);
    }
    for (size_t i = 0; i < count && i < ids.size(); ++i) {
      const Type& type = graph_.type(ids[i * ids.size() / count]);
      names_.insert(absl::StrCat(TypeKindName(type.kind), " ", type.name()));
    }
  }

  const TypeGraph& graph_;
  std::set<std::string> names_;
};

class StockTypesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto elf = ElfFile::Open(VmlinuxPath());
    ASSERT_TRUE(elf.ok()) << elf.status();
    elf_ = *std::move(elf);
    auto graph = ReadBtfOfElf(elf_);
    ASSERT_TRUE(graph.ok()) << graph.status();
    graph_ = *graph;
  }
  static void TearDownTestSuite() {
    graph_.reset();
    elf_.reset();
  }
  void SetUp() override { ASSERT_NE(graph_, nullptr); }

  // Gdb is asked once.
  static const std::vector<GdbLayout>& Layouts() {
    static const std::vector<GdbLayout>* const layouts = [] {
      const std::vector<std::string> names = TypeChoice(*graph_).Choose();
      auto answer = AskGdb(VmlinuxPath(), names);
      EXPECT_TRUE(answer.ok()) << answer.status();
      auto* result = new std::vector<GdbLayout>();
      if (answer.ok()) *result = *std::move(answer);
      EXPECT_EQ(result->size(), names.size());
      return result;
    }();
    return *layouts;
  }

  // `id` of `graph` is what the layout is of.
  static void ExpectEqual(LayoutComparison& comparison, TypeId id, const GdbLayout& layout) {
    ASSERT_FALSE(layout.members.empty())
        << "gdb has no layout of " << layout.c_name << ": " << layout.refused;
    EXPECT_EQ(absl::StrJoin(comparison.Compare(id, layout), "\n"), "");
  }

  static void ExpectEnough(const char* source, const ComparedCounts& counts) {
    std::printf("%s: %d types (%d unions, %d with bitfields, %d with anonymous members): %d "
                "members, %d offsets, %d bitfields\n",
                source, counts.types, counts.unions, counts.with_bitfields, counts.with_anonymous,
                counts.members, counts.offsets, counts.bitfields);
    EXPECT_GE(counts.types, 200);
    EXPECT_GE(counts.unions, 30);
    EXPECT_GE(counts.with_bitfields, 80);
    EXPECT_GE(counts.with_anonymous, 80);
    EXPECT_GE(counts.bitfields, 300);
  }

  static std::shared_ptr<const ElfFile> elf_;
  static std::shared_ptr<const TypeGraph> graph_;
};

std::shared_ptr<const ElfFile> StockTypesTest::elf_;
std::shared_ptr<const TypeGraph> StockTypesTest::graph_;

TEST_F(StockTypesTest, WhatEverybodyKnowsIsThere) {
  const auto task = graph_->Find("struct task_struct");
  ASSERT_TRUE(task.ok()) << task.status();
  const auto comm = FindMember(*graph_, *task, "comm");
  ASSERT_TRUE(comm.ok()) << comm.status();
  EXPECT_EQ(comm->bit_size, 16u * 8);
  EXPECT_EQ(graph_->Describe(comm->type), "char [16]");
  EXPECT_TRUE(FindMember(*graph_, *task, "se.run_node.rb_right").ok());
  EXPECT_THAT(FindMember(*graph_, *task, "pidd").status().message(),
              testing::HasSubstr("it has pid"));
  const auto u64 = graph_->Find("u64");
  ASSERT_TRUE(u64.ok()) << u64.status();
  EXPECT_EQ(*graph_->SizeOf(*u64), 8u);
}

TEST_F(StockTypesTest, LayoutsFromBtfAreThoseOfGdb) {
  LayoutComparison comparison(*graph_);
  for (const GdbLayout& layout : Layouts()) {
    const auto id = graph_->Find(layout.c_name);
    ASSERT_TRUE(id.ok()) << id.status();
    ExpectEqual(comparison, *id, layout);
  }
  ExpectEnough("BTF", comparison.counts());
}

TEST_F(StockTypesTest, LayoutsFromDwarfAreThoseOfGdb) {
  const auto dwarf = DwarfTypes::Open(elf_);
  ASSERT_TRUE(dwarf.ok()) << dwarf.status();
  ComparedCounts counts;
  for (const GdbLayout& layout : Layouts()) {
    const auto type = (*dwarf)->FindType(layout.c_name);
    ASSERT_TRUE(type.ok()) << type.status();
    LayoutComparison comparison(*type->graph);
    ExpectEqual(comparison, type->id, layout);
    counts += comparison.counts();
  }
  ExpectEnough("DWARF", counts);
}

TEST_F(StockTypesTest, VariablesHaveTheirTypesFromDwarf) {
  const auto dwarf = DwarfTypes::Open(elf_);
  ASSERT_TRUE(dwarf.ok()) << dwarf.status();
  const auto jiffies = (*dwarf)->FindVariable("jiffies_64", std::nullopt);
  ASSERT_TRUE(jiffies.ok()) << jiffies.status();
  EXPECT_EQ(jiffies->graph->Describe(jiffies->id), "u64");
  const auto task = (*dwarf)->FindVariable("init_task", std::nullopt);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_TRUE(FindMember(*task->graph, task->id, "se.run_node.rb_right").ok());
  EXPECT_EQ(task->graph->SizeOf(task->id).value_or(0),
            graph_->SizeOf(*graph_->Find("struct task_struct")).value_or(1));
  EXPECT_EQ((*dwarf)->FindVariable("no_such_variable_", std::nullopt).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ((*dwarf)->FindType("struct no_such_struct_").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace watchsnap

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s VMLINUX\n", argv[0]);
    return 2;
  }
  watchsnap::VmlinuxPath() = argv[1];
  return RUN_ALL_TESTS();
}
