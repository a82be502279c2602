// The whole layer over a real machine with a bare guest, spoken to through its socket as gdb does. What does
// not begin with Delivered runs on any /dev/kvm, also on one that interprets the guest.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status_matchers.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "debug/debug_dispatcher.h"
#include "debug/gdb_server/gdb_layer.h"
#include "debug/gdb_server/hex.h"
#include "debug/gdb_server/packet.h"
#include "debug/machine_debug_target.h"
#include "debug/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "testing/bare_guest/bare_guests.h"

namespace watchsnap::gdb {
namespace {

using ::absl_testing::IsOk;
using ::absl_testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A gdb made of a socket. Its waits end after 20 seconds, as failures.
class Client {
 public:
  bool Connect(const std::string& path) {
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit = {20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    return connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { Close(); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  void Send(std::string_view bytes) { (void)send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // The next packet's payload, acknowledged; "(closed)" at the end.
  std::string Receive() {
    for (;;) {
      while (std::optional<PacketReader::Event> event = reader_.Next()) {
        if (event->kind != PacketReader::Event::kPacket) continue;
        Send("+");
        return event->payload;
      }
      char bytes[4096];
      const ssize_t got = recv(fd_, bytes, sizeof bytes, 0);
      if (got <= 0) return "(closed)";
      reader_.Add(std::string_view(bytes, got));
    }
  }
  std::string Ask(std::string_view packet) {
    Send(FramePacket(packet));
    return Receive();
  }

 private:
  int fd_ = -1;
  PacketReader reader_;
};

class GdbBareGuestTest : public ::testing::Test {
 protected:
  void Start(const BareGuest& guest, int vcpus) {
    // The path of a socket is short; that of TEST_TMPDIR may not be.
    char folder[] = "/tmp/watchsnap-gdb-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    path_ = folder_ + "/gdb";
    guest_ = guest;
    MachineConfig config;
    config.vcpus = vcpus;
    config.memory_bytes = 4 << 20;
    config.boot = guest.boot;
    config.devices.push_back(BareGuestPowerPort());
    config.observer = &dispatcher_;
    absl::StatusOr<std::unique_ptr<Machine>> machine = Machine::Create(std::move(config));
    ASSERT_THAT(machine, IsOk());
    machine_ = *std::move(machine);
    target_ = std::make_unique<MachineDebugTarget>(machine_.get());
    gdb_ = std::make_unique<GdbLayer>(machine_.get(), target_.get());
    absl::StatusOr<std::unique_ptr<DebugDevice>> plugin = CreateDebugDevice("hw_watch", gdb_->target());
    ASSERT_THAT(plugin, IsOk());
    device_ = gdb_->Share(*std::move(plugin));
    dispatcher_.Connect(device_.get(), nullptr);
    dispatcher_.SetLayer(&gdb_->layer());
    ASSERT_THAT(gdb_->Listen(path_, nullptr), IsOk());
    ASSERT_THAT(machine_->Start(), IsOk());
    gdb_->Start();
    for (int i = 0; i < vcpus; ++i) ASSERT_NO_FATAL_FAILURE(WaitForProgress(i));
  }
  void TearDown() override {
    if (gdb_ != nullptr) gdb_->Stop();
    if (machine_ != nullptr) machine_->Stop();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  uint64_t Word(int index) {
    return machine_->memory().ReadObject<uint64_t>(BareGuestBuilder::GpaOf(guest_.words[index])).value();
  }
  void WaitForProgress(int index) {
    const uint64_t before = Word(index);
    const absl::Time until = absl::Now() + absl::Seconds(20);
    while (Word(index) == before) {
      ASSERT_LT(absl::Now(), until) << "vCPU " << index << " does not run";
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  // gdb has stopped the machine: nothing moves.
  void ExpectStandstill() {
    const uint64_t sum = Word(0) + Word(1);
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_EQ(Word(0) + Word(1), sum);
  }
  static std::string AddressHex(uint64_t address) {
    uint8_t bytes[8];
    std::memcpy(bytes, &address, sizeof bytes);
    return HexOf(bytes);
  }
  static std::string StopAt(uint64_t pc) { return absl::StrCat("10:", AddressHex(pc), ";"); }

  std::string folder_;
  std::string path_;
  BareGuest guest_;
  DebugDispatcher dispatcher_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineDebugTarget> target_;
  std::unique_ptr<GdbLayer> gdb_;
  std::unique_ptr<DebugDevice> device_;
};

TEST_F(GdbBareGuestTest, AttachStopsEveryVcpuAndDetachLetsThemGoOnAgainAndAgain) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(2), 2));
  struct stat there;
  ASSERT_EQ(stat(path_.c_str(), &there), 0);
  EXPECT_EQ(there.st_mode & 0777, 0600u);
  for (int round = 0; round < 3; ++round) {
    Client client;
    ASSERT_TRUE(client.Connect(path_));
    EXPECT_THAT(client.Ask("?"), StartsWith("T05thread:1;"));
    ExpectStandstill();
    EXPECT_EQ(client.Ask("qfThreadInfo"), "m1,2");
    Client second;
    ASSERT_TRUE(second.Connect(path_));
    EXPECT_EQ(second.Receive(), "(closed)") << "one at a time";
    // Whoever wants to freeze the machine meanwhile can.
    EXPECT_THAT(target_->WhileFrozen([] { return absl::OkStatus(); }), IsOk());
    EXPECT_THAT(target_->RunOnVcpu(1, [] { return absl::OkStatus(); }), IsOk());
    ExpectStandstill();
    EXPECT_EQ(client.Ask("D"), "OK");
    EXPECT_EQ(client.Receive(), "(closed)");
    for (int i : {0, 1}) ASSERT_NO_FATAL_FAILURE(WaitForProgress(i));
  }
  gdb_->Stop();
  EXPECT_NE(stat(path_.c_str(), &there), 0) << "the socket goes with the server";
}

TEST_F(GdbBareGuestTest, ReadsAndWritesMemoryAndRegisters) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(2), 2));
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("?"), StartsWith("T05"));
  EXPECT_EQ(client.Ask(absl::StrFormat("m%x,8", guest_.words[0])), AddressHex(Word(0)));
  EXPECT_EQ(client.Ask(absl::StrFormat("M%x,8:%s", guest_.words[0], AddressHex(1ull << 40))), "OK");
  EXPECT_EQ(Word(0), 1ull << 40);
  EXPECT_EQ(client.Ask("Hg2"), "OK");
  // RBX points at the vCPU's own word.
  EXPECT_EQ(client.Ask("p1"), AddressHex(guest_.words[1]));
  EXPECT_EQ(client.Ask("P1=" + AddressHex(guest_.words[0])), "OK");
  EXPECT_EQ(client.Ask("p1"), AddressHex(guest_.words[0]));
  const std::string gs_base = client.Ask("p29");
  EXPECT_EQ(client.Ask("P29=" + AddressHex(0x1234000)), "OK");
  EXPECT_EQ(client.Ask("p29"), AddressHex(0x1234000));
  EXPECT_EQ(client.Ask("P29=" + gs_base), "OK");
  EXPECT_EQ(client.Ask("D"), "OK");
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
  const uint64_t before = Word(1);
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
  EXPECT_EQ(Word(1), before) << "vCPU 1 counts elsewhere now";
}

TEST_F(GdbBareGuestTest, StepsOneVcpuWhileTheOtherStands) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(2), 2));
  const auto [store, after] = guest_.stores[1];
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("?"), StartsWith("T05"));
  const uint64_t other = Word(0);
  uint64_t count = Word(1);
  // A loop of two instructions: the store, and the jump back to it.
  std::string stop = client.Ask("vCont;s:2");
  EXPECT_THAT(stop, StartsWith("T05thread:2;"));
  if (absl::StrContains(stop, StopAt(after))) {
    EXPECT_EQ(Word(1), ++count);
    stop = client.Ask("vCont;s:2");
  }
  for (int round = 0; round < 10; ++round) {
    ASSERT_THAT(stop, HasSubstr(StopAt(store)));
    EXPECT_EQ(Word(1), count);
    stop = client.Ask("vCont;s:2");
    ASSERT_THAT(stop, HasSubstr(StopAt(after)));
    EXPECT_EQ(Word(1), ++count);
    stop = client.Ask("vCont;s:2");
  }
  EXPECT_EQ(Word(0), other) << "vCPU 0 was to stay";
  EXPECT_THAT(client.Ask("vCont;s:2;c"), StartsWith("T05thread:2;"));
  EXPECT_EQ(client.Ask("D"), "OK");
  for (int i : {0, 1}) ASSERT_NO_FATAL_FAILURE(WaitForProgress(i));
}

TEST_F(GdbBareGuestTest, HardwareBreakpointsStopBeforeTheInstruction) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(1), 1));
  guest_.words.push_back(guest_.words[0]);
  const uint64_t store = guest_.stores[0].pc;
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("qSupported:swbreak+;hwbreak+"), HasSubstr("hwbreak+"));
  EXPECT_EQ(client.Ask(absl::StrFormat("Z1,%x,1", store)), "OK");
  std::string stop = client.Ask("vCont;c");
  EXPECT_THAT(stop, AllOf(StartsWith("T05thread:1;"), HasSubstr(StopAt(store)), HasSubstr("hwbreak:;")));
  // gdb steps over a breakpoint with it taken out.
  const uint64_t count = Word(0);
  EXPECT_EQ(client.Ask(absl::StrFormat("z1,%x,1", store)), "OK");
  EXPECT_THAT(client.Ask("vCont;s:1"), HasSubstr(StopAt(guest_.stores[0].next_pc)));
  EXPECT_EQ(Word(0), count + 1);
  EXPECT_EQ(client.Ask(absl::StrFormat("Z1,%x,1", store)), "OK");
  EXPECT_THAT(client.Ask("vCont;c"), HasSubstr(StopAt(store)));
  EXPECT_EQ(Word(0), count + 1);
  client.Close();  // without a word
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
}

TEST_F(GdbBareGuestTest, BreakpointsStopAndAreGoneWithGdb) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(1), 1));
  guest_.words.push_back(guest_.words[0]);
  const uint64_t store = guest_.stores[0].pc;
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("qSupported:swbreak+;hwbreak+"), HasSubstr("swbreak+"));
  const std::string code = client.Ask(absl::StrFormat("m%x,4", store));
  // By an instruction in the code where this host delivers those, else by a debug register.
  EXPECT_EQ(client.Ask(absl::StrFormat("Z0,%x,1", store)), "OK");
  EXPECT_EQ(client.Ask(absl::StrFormat("m%x,4", store)), code);
  std::string stop = client.Ask("vCont;c");
  ASSERT_THAT(stop, AllOf(StartsWith("T05thread:1;"), HasSubstr(StopAt(store)), HasSubstr("swbreak:;")));
  ExpectStandstill();
  const uint64_t count = Word(0);
  EXPECT_THAT(client.Ask("vCont;c"), HasSubstr(StopAt(store))) << "the instruction was not executed";
  EXPECT_EQ(Word(0), count);
  EXPECT_EQ(client.Ask(absl::StrFormat("z0,%x,1", store)), "OK");
  EXPECT_THAT(client.Ask("vCont;s:1"), HasSubstr(StopAt(guest_.stores[0].next_pc)));
  EXPECT_EQ(Word(0), count + 1);
  EXPECT_EQ(client.Ask(absl::StrFormat("Z0,%x,1", store)), "OK");
  EXPECT_THAT(client.Ask("vCont;c"), HasSubstr(StopAt(store)));
  client.Close();
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
  EXPECT_EQ(machine_->memory().ReadObject<uint8_t>(BareGuestBuilder::GpaOf(store)).value(),
            (*BytesOfHex(code))[0]);
}

TEST_F(GdbBareGuestTest, DeliveredWatchesStopAfterTheStoreAndCannotTakeWhatIsTaken) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(1), 1));
  const uint64_t word = guest_.words[0];
  guest_.words.push_back(word);
  for (uint64_t other : {word + 8, word + 16}) {
    ASSERT_THAT(device_->Arm({.address = other, .length = 8, .tag = "a user's"}), IsOk());
  }
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_EQ(client.Ask(absl::StrFormat("Z2,%x,8", word)), "OK");
  EXPECT_THAT(client.Ask(absl::StrFormat("Z2,%x,8", word + 24)), StartsWith("E"));
  EXPECT_THAT(client.Ask(absl::StrFormat("Z1,%x,1", guest_.stores[0].pc)), StartsWith("E"));
  uint64_t count = Word(0);
  for (int round = 0; round < 100; ++round) {
    EXPECT_THAT(client.Ask("vCont;c"), AllOf(HasSubstr(StopAt(guest_.stores[0].next_pc)),
                                             HasSubstr(absl::StrFormat("watch:%x;", word))));
    ASSERT_EQ(Word(0), ++count);
  }
  // A step that stores is told as the watch's.
  EXPECT_THAT(client.Ask("vCont;s:1"), HasSubstr(StopAt(guest_.stores[0].pc)));
  EXPECT_THAT(client.Ask("vCont;s:1"), HasSubstr("watch:"));
  EXPECT_EQ(client.Ask("D"), "OK");
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
}

TEST_F(GdbBareGuestTest, AnInterruptStopsARunningGuest) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(2), 2));
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("?"), StartsWith("T05"));
  for (int round = 0; round < 20; ++round) {
    client.Send(FramePacket("vCont;c"));
    ASSERT_NO_FATAL_FAILURE(WaitForProgress(round % 2));
    client.Send("\x03");
    EXPECT_THAT(client.Receive(), StartsWith("T02thread:"));
  }
  ExpectStandstill();
  // One alone runs.
  client.Send(FramePacket("vCont;c:1"));
  const uint64_t other = Word(1);
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
  EXPECT_EQ(Word(1), other);
  client.Send("$not a packet#00");
  client.Send("\x03");
  EXPECT_THAT(client.Receive(), StartsWith("T02thread:"));
}

TEST_F(GdbBareGuestTest, TheEndOfTheMachineEndsTheWait) {
  ASSERT_NO_FATAL_FAILURE(Start(SpinningGuest(2), 2));
  Client client;
  ASSERT_TRUE(client.Connect(path_));
  EXPECT_THAT(client.Ask("?"), StartsWith("T05"));
  client.Send(FramePacket("vCont;c:1"));  // and vCPU 1 is held while the machine is stopped
  ASSERT_NO_FATAL_FAILURE(WaitForProgress(0));
  gdb_->Stop();
  EXPECT_EQ(client.Receive(), "W00");
  machine_->Stop();
}

TEST_F(GdbBareGuestTest, APathThatCannotBeIsRefusedBeforeAnythingIsMade) {
  EXPECT_THAT(CheckSocketPath(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckSocketPath("/tmp/" + std::string(200, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("107")));
  EXPECT_THAT(CheckSocketPath("/tmp"), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("/tmp")));
  EXPECT_THAT(CheckSocketPath(std::string("/tmp/") + std::string(102, 'x')), IsOk());
}

}  // namespace
}  // namespace watchsnap::gdb
