#include "debug/gdb_server/packet.h"

#include <random>
#include <string>
#include <vector>

#include "debug/gdb_server/hex.h"
#include "debug/gdb_server/packet_exercise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap::gdb {
namespace {

using ::testing::ElementsAre;

using Event = PacketReader::Event;

// As "packet:payload", "bad", "+", "-", "^C".
std::vector<std::string> Read(std::string_view bytes, size_t chunk = 1) {
  PacketReader reader;
  std::vector<std::string> read;
  for (size_t at = 0; at < bytes.size(); at += chunk) {
    reader.Add(bytes.substr(at, chunk));
    while (std::optional<Event> event = reader.Next()) {
      switch (event->kind) {
        case Event::kPacket: read.push_back("packet:" + event->payload); break;
        case Event::kBad: read.push_back("bad"); break;
        case Event::kAck: read.push_back("+"); break;
        case Event::kResend: read.push_back("-"); break;
        case Event::kInterrupt: read.push_back("^C"); break;
      }
    }
  }
  return read;
}

TEST(PacketReaderTest, ReadsPacketsInWhateverPiecesTheyCome) {
  // From the manual and from real sessions.
  const std::string bytes = "+$m4015bc,2#5a+$OK#9a\x03$#00";
  for (size_t chunk : {1, 2, 3, 7, 100}) {
    EXPECT_THAT(Read(bytes, chunk), ElementsAre("+", "packet:m4015bc,2", "+", "packet:OK", "^C", "packet:"))
        << chunk;
  }
}

TEST(PacketReaderTest, AChecksumThatIsWrongOrNoneIsABadPacketAndTheNextIsRead) {
  EXPECT_THAT(Read("$OK#9b$OK#9a"), ElementsAre("bad", "packet:OK"));
  EXPECT_THAT(Read("$OK#zz$OK#9A-"), ElementsAre("bad", "packet:OK", "-"));
}

TEST(PacketReaderTest, UndoesEscapes) {
  EXPECT_THAT(Read("$X0,1:}\x03#9f"), ElementsAre("packet:X0,1:#"));
}

TEST(PacketReaderTest, NoiseBetweenPacketsIsDropped) {
  EXPECT_THAT(Read("hello\n\x01#$OK#9a\n"), ElementsAre("packet:OK"));
}

TEST(PacketReaderTest, WhatIsTooLongIsSkippedAsOneBadPacket) {
  std::string longest(kMaxPacket, 'a');
  std::string frame = FramePacket(longest);
  EXPECT_THAT(Read(frame, 1000), ElementsAre("packet:" + longest));
  EXPECT_THAT(Read(FramePacket(longest + "a") + "$OK#9a", 1000), ElementsAre("bad", "packet:OK"));
}

TEST(PacketReaderTest, AFloodOfOneByteIsOneEvent) {
  PacketReader reader;
  reader.Add(std::string(100'000, '+'));
  reader.Add(std::string(100'000, '\x03'));
  int events = 0;
  while (reader.Next().has_value()) ++events;
  EXPECT_EQ(events, 2);
}

TEST(FramePacketTest, EscapesAndSums) {
  EXPECT_EQ(FramePacket("OK"), "$OK#9a");
  EXPECT_EQ(FramePacket(""), "$#00");
  EXPECT_EQ(FramePacket("a#b"), "$a}\x03" "b#43");
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  EXPECT_THAT(Read(FramePacket(all), 5), ElementsAre("packet:" + all));
}

TEST(HexTest, NumbersAndBytes) {
  EXPECT_EQ(NumberOfHex("ffffffff81000000"), 0xffffffff81000000u);
  EXPECT_EQ(NumberOfHex(""), std::nullopt);
  EXPECT_EQ(NumberOfHex("0x1"), std::nullopt);
  EXPECT_EQ(NumberOfHex("10000000000000000"), std::nullopt) << "17 digits";
  EXPECT_EQ(BytesOfHex("00fF"), (std::vector<uint8_t>{0, 255}));
  EXPECT_EQ(BytesOfHex("0"), std::nullopt);
  EXPECT_EQ(BytesOfHex("0g"), std::nullopt);
  EXPECT_EQ(HexOf(std::string_view("vCPU 0")), "764350552030");
}

// What the fuzz target runs, on random bytes that look a little like the protocol.
TEST(PacketExerciseTest, RandomBytesAreReadSafely) {
  std::mt19937 random(1);
  constexpr std::string_view kLetters = "$#+-}*:;,=0123456789abcdefvContZzmMXGgPpHqs\x03";
  for (int round = 0; round < 3000; ++round) {
    std::string bytes;
    const size_t length = random() % 200;
    while (bytes.size() < length) {
      bytes.push_back(random() % 8 == 0 ? static_cast<char>(random())
                                        : kLetters[random() % kLetters.size()]);
    }
    ExercisePackets(bytes);
    ExercisePackets(FramePacket(bytes));
  }
}

}  // namespace
}  // namespace watchsnap::gdb
