#include "snapshot/guest_init/control_port.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace watchsnap {
namespace {

using ::testing::HasSubstr;

// A sysfs and a /dev made of ordinary files.
class ControlPortTest : public ::testing::Test {
 protected:
  ControlPortTest() {
    std::string pattern = ::testing::TempDir() + "/control_port_XXXXXX";
    root_ = mkdtemp(pattern.data());
    for (const char* folder : {"/sys", "/sys/class", "/sys/class/virtio-ports", "/dev"}) {
      mkdir((root_ + folder).c_str(), 0755);
    }
    folders_ = {.sysfs = root_ + "/sys", .dev = root_ + "/dev"};
  }

  void AddPort(const std::string& device, const std::string& name) {
    std::ofstream(root_ + "/dev/" + device);
    mkdir((root_ + "/sys/class/virtio-ports/" + device).c_str(), 0755);
    std::ofstream(root_ + "/sys/class/virtio-ports/" + device + "/name") << name << "\n";
  }

  std::string root_;
  ControlPortFolders folders_;
};

TEST_F(ControlPortTest, IsFoundByNameWhateverItsNumber) {
  AddPort("vport0p1", "org.example.agent");
  AddPort("vport3p2", "watchsnap.control");
  absl::StatusOr<std::string> path = FindControlPort(folders_, absl::ZeroDuration());
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(*path, root_ + "/dev/vport3p2");
}

TEST_F(ControlPortTest, IsWaitedFor) {
  std::thread later([this] {
    absl::SleepFor(absl::Milliseconds(20));
    AddPort("vport0p1", "watchsnap.control");
  });
  absl::StatusOr<int> fd = OpenControlPort(folders_, absl::Seconds(10));
  later.join();
  ASSERT_TRUE(fd.ok()) << fd.status();
  close(*fd);
}

TEST_F(ControlPortTest, ADeadlineTellsWhatIsThereInstead) {
  AddPort("vport0p1", "org.example.agent");
  AddPort("vport0p2", "");
  absl::StatusOr<std::string> path = FindControlPort(folders_, absl::Milliseconds(3));
  EXPECT_EQ(path.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(path.status().message()), HasSubstr("vport0p1 \"org.example.agent\""));
  EXPECT_THAT(std::string(path.status().message()), HasSubstr("vport0p2 (no name yet)"));
}

TEST_F(ControlPortTest, ANamedPortWithoutItsDeviceIsTold) {
  AddPort("vport0p1", "watchsnap.control");
  unlink((root_ + "/dev/vport0p1").c_str());
  absl::StatusOr<std::string> path = FindControlPort(folders_, absl::Milliseconds(3));
  EXPECT_THAT(std::string(path.status().message()), HasSubstr("is devtmpfs mounted"));
}

}  // namespace
}  // namespace watchsnap
