#include "debug/types/btf_reader.h"

#include <linux/btf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "debug/types/btf_builder.h"
#include "debug/types/types_exercise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const TypeGraph> Read(const BtfBuilder& btf,
                                      std::shared_ptr<const TypeGraph> base = nullptr) {
  auto graph = ReadBtf(btf.Bytes(), {.name = "test's BTF", .base = std::move(base)});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *graph : nullptr;
}

std::string ErrorOf(const std::vector<uint8_t>& bytes) {
  const auto graph = ReadBtf(bytes, {.name = "test's BTF"});
  return graph.ok() ? "" : std::string(graph.status().message());
}

TEST(BtfReaderTest, EveryKindIsRead) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4, BTF_INT_SIGNED);
  const uint32_t text = btf.Int("char", 1, BTF_INT_SIGNED);
  const uint32_t boolean = btf.Int("_Bool", 1, BTF_INT_BOOL);
  const uint32_t number = btf.Float("double", 8);
  const uint32_t pointer = btf.Pointer(integer);
  const uint32_t array = btf.Array(text, 16);
  const uint32_t aggregate =
      btf.Struct("pair", 8, {{"a", integer, 0, 3}, {"b", integer, 3, 29}, {"c", integer, 32}});
  const uint32_t either = btf.Union("either", 4, {{"a", integer, 0}});
  const uint32_t choice = btf.Enum("choice", 4, true, {{"NO", -1}, {"YES", 1}});
  const uint32_t positive = btf.Enum("positive", 4, false, {{"ALL", -1}});
  const uint32_t wide = btf.Enum64("wide", false, {{"HIGH", 0x100000002}});
  const uint32_t forward = btf.Forward("elsewhere", true);
  const uint32_t alias = btf.Typedef("pair_t", aggregate);
  const uint32_t constant = btf.Refer(BTF_KIND_CONST, alias);
  const uint32_t changing = btf.Refer(BTF_KIND_VOLATILE, constant);
  const uint32_t only = btf.Refer(BTF_KIND_RESTRICT, pointer);
  const uint32_t prototype = btf.Prototype(integer, {{"p", pointer, 0}, {"", 0, 0}});
  const uint32_t function = btf.Refer(BTF_KIND_FUNC, prototype, "main");
  const uint32_t variable = btf.Variable("counter", changing);
  const uint32_t section = btf.DataSection(".bss", 64, {{variable, 8, 8}});
  const uint32_t tag = btf.DeclTag("kptr", aggregate, 1);
  const uint32_t user = btf.Refer(BTF_KIND_TYPE_TAG, integer, "user");
  const auto graph = Read(btf);
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(graph->size(), user + 1);

  EXPECT_EQ(graph->type(kVoidType).kind, TypeKind::kVoid);
  EXPECT_TRUE(graph->type(integer).is_signed);
  EXPECT_EQ(graph->type(integer).bits, 32);
  EXPECT_EQ(graph->type(text).encoding, IntEncoding::kChar);
  EXPECT_EQ(graph->type(boolean).encoding, IntEncoding::kBool);
  EXPECT_EQ(graph->type(number).kind, TypeKind::kFloat);
  EXPECT_EQ(graph->type(pointer).size, 8u);
  EXPECT_EQ(graph->type(array).count(), 16u);
  const auto members = graph->type(aggregate).members();
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[1].name(), "b");
  EXPECT_EQ(members[1].bit_offset, 3u);
  EXPECT_EQ(members[1].bitfield_size, 29);
  EXPECT_EQ(members[2].bitfield_size, 0);
  EXPECT_EQ(graph->type(either).kind, TypeKind::kUnion);
  EXPECT_EQ(graph->type(choice).enumerators()[0].value, ~uint64_t{0});
  EXPECT_EQ(graph->type(positive).enumerators()[0].value, 0xffffffffu);
  EXPECT_EQ(graph->type(wide).enumerators()[0].value, 0x100000002u);
  EXPECT_TRUE(graph->type(forward).is_union);
  EXPECT_EQ(graph->type(prototype).parameters().size(), 2u);
  EXPECT_EQ(graph->type(function).target, prototype);
  EXPECT_EQ(graph->type(section).variables()[0].variable, variable);
  EXPECT_EQ(graph->type(tag).component, 1);

  EXPECT_EQ(*graph->Resolve(variable), aggregate);
  EXPECT_EQ(*graph->Resolve(user), integer);
  EXPECT_EQ(*graph->SizeOf(variable), 8u);
  EXPECT_EQ(*graph->SizeOf(array), 16u);
  EXPECT_EQ(*graph->SizeOf(section), 64u);
  EXPECT_FALSE(graph->SizeOf(kVoidType).ok());
  EXPECT_FALSE(graph->SizeOf(prototype).ok());
  EXPECT_EQ(graph->Describe(array), "char [16]");
  EXPECT_EQ(graph->Describe(changing), "volatile const pair_t");
  EXPECT_EQ(graph->Describe(only), "int *restrict");
}

TEST(BtfReaderTest, NamesAreFoundAndMistakesExplained) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("unsigned int", 4);
  const uint32_t task = btf.Struct("task_struct", 4, {{"pid", integer, 0}});
  const uint32_t alias = btf.Typedef("u32", integer);
  btf.Struct("console", 4, {{"a", integer, 0}});
  btf.Struct("console", 8, {{"a", integer, 0}, {"b", integer, 32}});
  const uint32_t twice = btf.Struct("twice", 4, {{"a", integer, 0}});
  btf.Struct("twice", 4, {{"a", integer, 0}});
  btf.Forward("opaque", false);
  const auto graph = Read(btf);
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(*graph->Find("struct task_struct"), task);
  EXPECT_EQ(*graph->Find("task_struct"), task);
  EXPECT_EQ(*graph->Find("u32"), alias);
  EXPECT_EQ(*graph->Find("unsigned int"), integer);
  EXPECT_EQ(*graph->Find("void"), kVoidType);
  EXPECT_EQ(*graph->Find("struct twice"), twice);
  EXPECT_EQ(graph->FindAll(TypeKind::kStruct, "console").size(), 2u);
  EXPECT_THAT(graph->Find("struct console").status().message(),
              AllOf(HasSubstr("ambiguous"), HasSubstr("4, 5")));
  EXPECT_THAT(graph->Find("struct task_strct").status().message(),
              HasSubstr("did you mean struct task_struct?"));
  EXPECT_THAT(graph->Find("union opaque").status().message(), HasSubstr("only declared"));
  EXPECT_THAT(graph->Find("nothing_like_it").status().message(), HasSubstr("test's BTF"));
}

TEST(BtfReaderTest, SplitBtfContinuesItsBase) {
  BtfBuilder kernel;
  const uint32_t integer = kernel.Int("int", 4, BTF_INT_SIGNED);
  const uint32_t node = kernel.Struct("node", 4, {{"value", integer, 0}});
  BtfBuilder module = BtfBuilder::Continuing(kernel);
  const uint32_t own = module.Struct("own", 8, {{"first", node, 0}, {"second", integer, 32}});
  BtfBuilder third = BtfBuilder::Continuing(module);
  const uint32_t top = third.Struct("top", 8, {{"own", own, 0}});
  const auto base = Read(kernel);
  const auto split = Read(module, base);
  const auto graph = Read(third, split);
  ASSERT_NE(graph, nullptr);
  EXPECT_EQ(own, node + 1);
  EXPECT_EQ(graph->size(), top + 1);
  EXPECT_EQ(*graph->Find("struct node"), node);
  EXPECT_EQ(*graph->Find("struct own"), own);
  EXPECT_EQ(graph->type(node).members()[0].name(), "value");
  EXPECT_EQ(graph->type(own).members()[1].name(), "second");
  EXPECT_EQ(graph->type(top).members()[0].name(), "own");
  // Without its base it refers to what is not there.
  EXPECT_NE(ErrorOf(module.Bytes()), "");
}

// Names that a module shares with the kernel stand in the kernel's strings.
TEST(BtfReaderTest, SplitBtfUsesStringsOfItsBase) {
  BtfBuilder kernel;
  const uint32_t integer = kernel.Int("int", 4);
  const uint32_t shared = kernel.String("shared_name");
  BtfBuilder module = BtfBuilder::Continuing(kernel);
  const uint32_t id = module.Header("", BTF_KIND_TYPEDEF, 0, false, integer);
  auto bytes = module.Bytes();
  memcpy(bytes.data() + sizeof(btf_header), &shared, sizeof(shared));
  const auto graph = ReadBtf(bytes, {.base = Read(kernel)});
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ((*graph)->type(id).name(), "shared_name");
}

TEST(BtfReaderTest, DamageIsToldWithWhatStoodThere) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4);
  btf.Struct("s", 4, {{"a", integer, 0}});
  const std::vector<uint8_t> good = btf.Bytes();
  const auto with = [&](size_t offset, uint32_t value) {
    auto bytes = good;
    memcpy(bytes.data() + offset, &value, sizeof(value));
    return ErrorOf(bytes);
  };
  const size_t types = sizeof(btf_header);
  EXPECT_EQ(ErrorOf(good), "");
  EXPECT_THAT(ErrorOf({}), HasSubstr("0 bytes"));
  EXPECT_THAT(with(0, 0x01007f45), HasSubstr("0x7f45"));
  EXPECT_THAT(with(0, 0x01009feb), HasSubstr("big-endian"));
  EXPECT_THAT(with(0, 0x0007eb9f), HasSubstr("version 7"));
  EXPECT_THAT(with(4, 4096), HasSubstr("4096"));
  EXPECT_THAT(with(8, 0xfffffff0), HasSubstr("types"));
  EXPECT_THAT(with(20, 0xfffffff0), HasSubstr("strings"));
  EXPECT_THAT(with(20, 3), HasSubstr("NUL"));
  EXPECT_THAT(with(types, 5000), HasSubstr("a name at 5000"));
  EXPECT_THAT(with(types + 4, 99u << 24), HasSubstr("kind 99"));
  EXPECT_THAT(with(types + 8, 3), HasSubstr("an int of 3 bytes"));
  EXPECT_THAT(with(types + 12, 33), HasSubstr("33 bits"));
  EXPECT_THAT(with(types + 20, 0xffff | BTF_KIND_STRUCT << 24), HasSubstr("type 2"));
  EXPECT_THAT(with(types + 32, 7777), HasSubstr("refers to type 7777, and there are 3"));
}

// Types are decoded in blocks, by whoever comes first.
TEST(BtfReaderTest, ThreadsThatAskAtOnceSeeTheSameTypes) {
  constexpr uint32_t kStructs = 10 * TypeGraph::kBlock;
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4);
  std::vector<uint32_t> structs;
  for (uint32_t i = 0; i < kStructs; ++i) {
    const std::string name = absl::StrCat("s", i);
    structs.push_back(btf.Struct(name, 4 * i, {{"first", integer, 0}, {name, integer, 32 * i}}));
  }
  const auto graph = Read(btf);
  ASSERT_NE(graph, nullptr);
  std::vector<const Type*> seen[4];
  std::vector<std::thread> threads;
  for (auto& mine : seen) {
    threads.emplace_back([&] {
      for (const uint32_t id : structs) mine.push_back(&graph->type(id));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint32_t i = 0; i < kStructs; ++i) {
    const Type* type = seen[0][i];
    for (const auto& other : seen) EXPECT_EQ(other[i], type) << "a type has one place";
    EXPECT_EQ(type->size, 4 * i);
    ASSERT_EQ(type->members().size(), 2u);
    EXPECT_EQ(type->members()[1].name(), type->name());
    EXPECT_EQ(type->members()[1].bit_offset, 32 * i);
    EXPECT_EQ(*graph->Find(TypeKind::kStruct, absl::StrCat("s", i)), structs[i]);
  }
}

TEST(BtfReaderTest, WhatAChangedFileLosesIsVoid) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4);
  std::vector<uint8_t> bytes = btf.Bytes();
  const auto graph = ReadBtf(absl::MakeConstSpan(bytes), nullptr, {.name = "changing BTF"});
  ASSERT_TRUE(graph.ok());
  std::fill(bytes.begin() + sizeof(btf_header), bytes.end(), 0xff);
  EXPECT_EQ((*graph)->type(integer).kind, TypeKind::kVoid);
  EXPECT_FALSE((*graph)->Find("int").ok());
}

TEST(BtfReaderTest, ChainsThatNeverEndAreBounded) {
  BtfBuilder btf;
  const uint32_t first = btf.Typedef("one", 2);
  btf.Typedef("two", 1);
  const uint32_t array = btf.Array(3, 2);  // of itself
  const uint32_t itself = btf.Struct("itself", 8, {{"", 4, 0}, {"me", 4, 0}});
  const uint32_t huge = btf.Array(6, 0xffffffff);
  btf.Array(7, 0xffffffff);
  btf.Array(4, 0xffffffff);
  const auto graph = Read(btf);
  ASSERT_NE(graph, nullptr);
  EXPECT_THAT(graph->Resolve(first).status().message(), HasSubstr("damaged"));
  EXPECT_FALSE(graph->SizeOf(array).ok());
  EXPECT_THAT(graph->SizeOf(huge).status().message(), HasSubstr("more bytes than there are"));
  EXPECT_EQ(*graph->SizeOf(itself), 8u);
  EXPECT_FALSE(FindMember(*graph, itself, "absent").ok());
  EXPECT_TRUE(FindMember(*graph, itself, "me.me.me").ok());
  EXPECT_FALSE(graph->Describe(array).empty());
}

// Every byte of a BTF with all kinds in it, changed in several ways: nothing reads outside (under a
// sanitizer), hangs or aborts; and most changes are seen or do not matter.
TEST(BtfReaderTest, AnyChangedByteIsSurvived) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4, BTF_INT_SIGNED);
  const uint32_t text = btf.Int("char", 1);
  const uint32_t name = btf.Array(text, 8);
  const uint32_t inner = btf.Union("", 4, {{"x", integer, 0}, {"y", integer, 0, 5}});
  const uint32_t choice = btf.Enum("choice", 4, true, {{"NO", -1}, {"YES", 1}});
  const uint32_t outer = btf.Struct(
      "outer", 24, {{"a", name, 0}, {"", inner, 64}, {"b", choice, 96}, {"c", integer, 128, 7}});
  const uint32_t flexible = btf.Array(outer, 0);
  const uint32_t table = btf.Struct("table", 8, {{"n", integer, 0}, {"rows", flexible, 64}});
  const uint32_t variable = btf.Variable("rows", btf.Typedef("table_t", table));
  btf.DataSection(".data", 96, {{variable, 0, 96}});
  btf.Pointer(btf.Prototype(integer, {{"x", outer, 0}, {"", 0, 0}}));
  const std::vector<uint8_t> good = btf.Bytes();
  std::vector<uint8_t> value(96);
  std::mt19937 random(4);
  for (uint8_t& byte : value) byte = static_cast<uint8_t>(random());
  ASSERT_TRUE(ExerciseTypes(good, value));
  int accepted = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int change : {1, 0x80, 0xff, static_cast<int>(random() & 0xff)}) {
      auto bytes = good;
      bytes[i] ^= static_cast<uint8_t>(change);
      accepted += ExerciseTypes(std::move(bytes), value) ? 1 : 0;
    }
  }
  EXPECT_GT(accepted, 0);
  // Changed after they were read, as a file can be: types are decoded from them only then.
  for (size_t i = 0; i < good.size(); ++i) {
    auto bytes = good;
    const auto graph = ReadBtf(absl::MakeConstSpan(bytes), nullptr, {.name = "changing BTF"});
    ASSERT_TRUE(graph.ok());
    bytes[i] ^= 0xff;
    ExerciseGraph(**graph, value);
  }
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ExerciseTypes({good.begin(), good.begin() + length}, value)) << length;
  }
}

}  // namespace
}  // namespace watchsnap
