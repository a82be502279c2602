#include "debug/gdb_server/gdb_session.h"

#include <random>
#include <string>
#include <vector>

#include "absl/status/status_matchers.h"
#include "absl/strings/str_cat.h"
#include "debug/gdb_server/debugger_fake.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;
using ::testing::StartsWith;

class GdbSessionTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(session_.Begin(), IsOk()); }
  std::string Ask(std::string_view packet) {
    const std::optional<std::string> answer = session_.OnPacket(packet);
    return answer.value_or("(none)");
  }

  DebuggerFake fake_{2};
  std::vector<std::string> messages_;
  GdbSession session_{&fake_.debugger, [this](std::string_view text) { messages_.emplace_back(text); }};
};

TEST_F(GdbSessionTest, TheFirstWordsOfARealGdb) {
  EXPECT_EQ(Ask("qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;vContSupported+"),
            "PacketSize=4000;qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+");
  EXPECT_EQ(Ask("vMustReplyEmpty"), "");
  EXPECT_FALSE(session_.no_acknowledgements());
  EXPECT_EQ(Ask("QStartNoAckMode"), "OK");
  EXPECT_TRUE(session_.no_acknowledgements());
  EXPECT_EQ(Ask("Hgp0.0"), "E16") << "multiprocess was not agreed on";
  EXPECT_EQ(Ask("Hg0"), "OK");
  EXPECT_THAT(Ask("?"), StartsWith("T05thread:1;"));
  EXPECT_EQ(Ask("qC"), "QC1");
  EXPECT_EQ(Ask("qAttached"), "1");
  EXPECT_EQ(Ask("qTStatus"), "");
  EXPECT_EQ(Ask("qSymbol::"), "OK");
  EXPECT_EQ(Ask("vCont?"), "vCont;c;C;s;S");
  EXPECT_EQ(Ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(Ask("qsThreadInfo"), "l");
  EXPECT_EQ(Ask("qThreadExtraInfo,2"), "7643505520312c20696e20746865206b65726e656c");
  EXPECT_EQ(Ask("T2"), "OK");
  EXPECT_THAT(Ask("T3"), StartsWith("E"));
  EXPECT_THAT(fake_.run_control.held(), Each(true));
}

TEST_F(GdbSessionTest, TheDescriptionComesInParts) {
  const std::string first = Ask("qXfer:features:read:target.xml:0,100");
  EXPECT_THAT(first, StartsWith("m<?xml"));
  EXPECT_EQ(first.size(), 1u + 0x100);
  const std::string whole = Ask("qXfer:features:read:target.xml:0,4000");
  EXPECT_THAT(whole, AllOf(StartsWith("l<?xml"), EndsWith("</target>\n")));
  EXPECT_EQ(Ask(absl::StrFormat("qXfer:features:read:target.xml:%x,10", whole.size() - 1)), "l");
  EXPECT_THAT(Ask("qXfer:features:read:target.xml:ffff,10"), StartsWith("E"));
  EXPECT_EQ(Ask("qXfer:features:read:other.xml:0,10"), "E00");
  EXPECT_EQ(Ask("qXfer:auxv:read::0,10"), "");
}

TEST_F(GdbSessionTest, RegistersOfTheThreadChosen) {
  fake_.target.saved_registers(1).regs.rip = 0x1234;
  EXPECT_EQ(Ask("Hg2"), "OK");
  EXPECT_EQ(Ask("p10"), "3412000000000000");
  EXPECT_EQ(Ask("P10=0100000000000000"), "OK");
  EXPECT_EQ(fake_.target.saved_registers(1).regs.rip, 1u);
  EXPECT_THAT(Ask("P12=08000000"), StartsWith("E"));
  EXPECT_THAT(messages_, Contains(HasSubstr("cs")));
  const std::string all = Ask("g");
  EXPECT_EQ(Ask("G" + all), "OK");
  EXPECT_EQ(Ask("g"), all);
  EXPECT_THAT(Ask("p99"), StartsWith("E"));
  EXPECT_THAT(Ask("Hg3"), StartsWith("E"));
}

TEST_F(GdbSessionTest, Memory) {
  fake_.target.Store<uint32_t>(DebuggerFake::kData + 16, 0x11223344);
  EXPECT_EQ(Ask("mffffffff82000010,4"), "44332211");
  EXPECT_EQ(Ask("Mffffffff82000010,2:aabb"), "OK");
  EXPECT_EQ(Ask("Xffffffff82000012,2::,"), "OK") << "bytes that are separators elsewhere";
  EXPECT_EQ(Ask("mffffffff82000010,4"), "aabb3a2c");
  EXPECT_EQ(Ask("Xffffffff82000012,0:"), "OK") << "gdb's probe for X";
  EXPECT_THAT(Ask("m0,4"), StartsWith("E"));
  EXPECT_THAT(Ask("Mffffffff82000010,2:aa"), StartsWith("E"));
  EXPECT_THAT(Ask("Mffffffff82000010,1:zz"), StartsWith("E"));
  EXPECT_THAT(Ask("M0,1:00"), StartsWith("E"));
}

TEST_F(GdbSessionTest, AWatchpointFromInsertionToStop) {
  EXPECT_EQ(Ask("Z2,ffffffff82000000,8"), "OK");
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  EXPECT_THAT(fake_.run_control.held(), Each(false));
  EXPECT_THAT(Ask("g"), StartsWith("E")) << "while the guest runs";
  EXPECT_EQ(session_.OnStopNotice(), std::nullopt);
  EXPECT_EQ(fake_.Exit(1, DebuggerFake::kCode, 1u << 1), 0);
  EXPECT_THAT(session_.OnStopNotice(),
              Optional(AllOf(StartsWith("T05thread:2;10:00000081ffffffff;07:"),
                             EndsWith("watch:ffffffff82000000;"))));
  EXPECT_EQ(Ask("qC"), "QC2");
  EXPECT_EQ(Ask("z2,ffffffff82000000,8"), "OK");
  EXPECT_THAT(Ask("z2,ffffffff82000000,8"), StartsWith("E"));
}

TEST_F(GdbSessionTest, WhatCannotBeWatchedIsSaid) {
  EXPECT_EQ(Ask("Z3,ffffffff82000000,8"), "") << "not supported";
  EXPECT_EQ(Ask("Z4,ffffffff82000000,8"), "");
  EXPECT_THAT(Ask("Z2,ffffffff82000001,8"), StartsWith("E")) << "not aligned";
  EXPECT_THAT(Ask("Z2,ffffffff82000000,800000008"), StartsWith("E"));
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(fake_.watches.Arm({.address = DebuggerFake::kData + 8ull * i, .length = 8, .tag = "mine"}),
                IsOk());
  }
  EXPECT_THAT(Ask("Z2,ffffffff82000040,8"), StartsWith("E"));
  EXPECT_THAT(messages_, Contains(HasSubstr("mine")));
  EXPECT_THAT(Ask("Z1,ffffffff81000000,1"), StartsWith("E"));
}

TEST_F(GdbSessionTest, BreakpointsSayTheirKindIfGdbKnowsIt) {
  EXPECT_EQ(Ask("Z0,ffffffff81000000,1"), "OK");
  EXPECT_EQ(Ask("Z1,ffffffff81000008,1"), "OK");
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  (void)fake_.Exit(0, DebuggerFake::kCode, 0, /*exception=*/3);
  EXPECT_THAT(session_.OnStopNotice(), Optional(Not(HasSubstr("break"))));
  EXPECT_THAT(Ask("qSupported:swbreak+;hwbreak+"), HasSubstr("swbreak+;hwbreak+"));
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  (void)fake_.Exit(0, DebuggerFake::kCode, 0, /*exception=*/3);
  EXPECT_THAT(session_.OnStopNotice(), Optional(EndsWith("swbreak:;")));
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  (void)fake_.Exit(1, DebuggerFake::kCode + 8, 1u << 3);
  EXPECT_THAT(session_.OnStopNotice(), Optional(AllOf(StartsWith("T05thread:2;"), EndsWith("hwbreak:;"))));
}

TEST_F(GdbSessionTest, InterruptAndStepsOfOneThread) {
  EXPECT_EQ(session_.OnInterrupt(), std::nullopt) << "it stands already";
  EXPECT_EQ(Ask("vCont;s:2"), "(none)");
  EXPECT_THAT(fake_.run_control.held(), testing::ElementsAre(true, false));
  (void)fake_.Exit(1, DebuggerFake::kCode + 1, 1u << 14);
  EXPECT_THAT(session_.OnStopNotice(), Optional(StartsWith("T05thread:2;")));
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  EXPECT_THAT(session_.OnInterrupt(), Optional(StartsWith("T02thread:")));
  EXPECT_EQ(Ask("Hc2"), "OK");
  EXPECT_EQ(Ask("s"), "(none)");
  EXPECT_NE(fake_.target.guest_debug(1).control & KVM_GUESTDBG_SINGLESTEP, 0u);
  (void)session_.OnInterrupt();
  EXPECT_EQ(Ask("c"), "(none)");
  EXPECT_EQ(fake_.target.guest_debug(1).control & KVM_GUESTDBG_SINGLESTEP, 0u);
}

TEST_F(GdbSessionTest, DetachAndKillLetTheGuestRun) {
  EXPECT_EQ(Ask("Z0,ffffffff81000000,1"), "OK");
  EXPECT_EQ(Ask("D"), "OK");
  EXPECT_TRUE(session_.over());
  EXPECT_THAT(fake_.run_control.held(), Each(false));
  EXPECT_EQ(*fake_.target.HostAddress(0, DebuggerFake::kCode, 1), 0x90);
  GdbSession second(&fake_.debugger, nullptr);
  ASSERT_THAT(second.Begin(), IsOk());
  EXPECT_THAT(second.OnPacket("vKill;1"), Optional(std::string("OK")));
  EXPECT_TRUE(second.over());
  EXPECT_THAT(fake_.run_control.held(), Each(false));
}

TEST_F(GdbSessionTest, TheEndOfTheMachineIsToldToAGdbThatWaits) {
  EXPECT_EQ(session_.OnMachineEnd(), std::nullopt);
  EXPECT_EQ(Ask("vCont;c"), "(none)");
  EXPECT_THAT(session_.OnMachineEnd(), Optional(std::string("W00")));
}

TEST_F(GdbSessionTest, AnyPacketIsAnswered) {
  std::mt19937 random(7);
  constexpr std::string_view kLetters = ";:,=0123456789abcdef?ZzmMXGgPpHqQvTtkRs";
  for (int round = 0; round < 20000; ++round) {
    std::string packet(1, "?gGmMXpPHTZzqQvR!"[random() % 17]);
    const size_t length = random() % 40;
    while (packet.size() < length) packet.push_back(kLetters[random() % kLetters.size()]);
    const std::optional<std::string> answer = session_.OnPacket(packet);
    ASSERT_FALSE(session_.over()) << packet;
    if (!answer.has_value()) (void)session_.OnInterrupt();
  }
}

}  // namespace
}  // namespace watchsnap::gdb
