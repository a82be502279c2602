// The comparison with gdb itself: that it reads gdb's output, and that it sees a difference.
#include "debug/types/gdb_layout.h"

#include <memory>
#include <string>
#include <vector>

#include "debug/types/btf_builder.h"
#include "debug/types/btf_reader.h"
#include "debug/types/layout_compare.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kOutput[] = R"(@ struct s
/* offset      |    size */  type = struct s {
/*      0: 0   |       4 */    unsigned int a : 3;
/* XXX  5-bit hole       */
/*      4      |       8 */    union {
/*                     8 */        struct {
/*      4      |       4 */            int x;
/*      8      |       4 */            int y;

                                       /* total size (bytes):    8 */
                                   };
/*                     4 */        int w[1];

                                   /* total size (bytes):    8 */
                               } u;
/*     16      |       8 */    void (*call)(struct s *, int);
/*     24      |       8 */    struct s *next;

                               /* total size (bytes):   32 */
                             }
@ struct t
No struct type named t.
)";

TEST(GdbLayoutTest, ItsOutputIsRead) {
  const std::vector<GdbLayout> layouts = ParseGdb(kOutput);
  ASSERT_EQ(layouts.size(), 2u);
  EXPECT_EQ(layouts[0].size, 32u);
  std::vector<std::string> names;
  for (const GdbMember& member : layouts[0].members) names.push_back(member.name);
  EXPECT_THAT(names, ElementsAre("a", "u", "call", "next"));
  EXPECT_EQ(layouts[0].members[0].bitfield_size, 3u);
  const GdbMember& inner = layouts[0].members[1];
  ASSERT_EQ(inner.members.size(), 2u);
  EXPECT_EQ(inner.members[0].name, "");
  EXPECT_EQ(inner.members[0].members[1].bit_offset, 64u);
  EXPECT_EQ(inner.members[1].bit_offset, std::nullopt);
  EXPECT_THAT(layouts[1].members, IsEmpty());
  EXPECT_THAT(layouts[1].refused, HasSubstr("No struct type"));
}

std::vector<std::string> CompareWith(uint32_t a_bits, uint32_t y_offset, uint32_t size,
                                     std::string_view last) {
  BtfBuilder btf;
  const uint32_t integer = btf.Int("int", 4);
  const uint32_t pointer = btf.Pointer(integer);
  const uint32_t xy = btf.Struct("", 8, {{"x", integer, 0}, {"y", integer, y_offset}});
  const uint32_t u = btf.Union("", 8, {{"", xy, 0}, {"w", btf.Array(integer, 1), 0}});
  const uint32_t s = btf.Struct(
      "s", size,
      {{"a", integer, 0, a_bits}, {"u", u, 32}, {"call", pointer, 128}, {last, pointer, 192}});
  const auto graph = ReadBtf(btf.Bytes());
  EXPECT_TRUE(graph.ok()) << graph.status();
  LayoutComparison comparison(**graph);
  return comparison.Compare(s, ParseGdb(kOutput)[0]);
}

TEST(GdbLayoutTest, DifferencesAreSeen) {
  EXPECT_THAT(CompareWith(3, 32, 32, "next"), IsEmpty());
  EXPECT_THAT(CompareWith(4, 32, 32, "next"), ElementsAre(HasSubstr("struct s.a: bits 4")));
  EXPECT_THAT(CompareWith(3, 33, 32, "next"), ElementsAre(HasSubstr(".y: bit offset 65")));
  EXPECT_THAT(CompareWith(3, 32, 40, "next"), ElementsAre(HasSubstr("struct s: size 40")));
  EXPECT_THAT(CompareWith(3, 32, 32, "prev"), ElementsAre(HasSubstr("named 'prev'")));
}

}  // namespace
}  // namespace watchsnap
