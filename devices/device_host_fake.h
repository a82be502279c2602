// DeviceHostFake: a DeviceHost without KVM, over real GuestMemory, buses and an EventLoop.
//
// It records what devices ask of the machine, and does what the kernel would for a doorbell. A test
// plugs devices in and acts the guest by port and memory accesses.
// Threads: all methods from any thread, but Plug (one thread, before anything runs).
// Ownership: owns the plugged devices, and stops the loop before it destroys them, as a machine
// does.
#ifndef WATCHSNAP_DEVICES_DEVICE_HOST_FAKE_H_
#define WATCHSNAP_DEVICES_DEVICE_HOST_FAKE_H_

#include <sys/eventfd.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/types/span.h"
#include "devices/io_bytes.h"
#include "vmm/device_host.h"
#include "vmm/run_end.h"

namespace watchsnap {

class DeviceHostFake : public DeviceHost {
 public:
  struct Message {
    uint64_t address;
    uint32_t data;
    bool operator==(const Message&) const = default;
  };

  explicit DeviceHostFake(uint64_t memory_size = 4 << 20) {
    auto memory = GuestMemory::Create(memory_size, uint64_t{0xC000'0000});
    CHECK(memory.ok()) << memory.status();
    memory_ = *std::move(memory);
    auto loop = EventLoop::Create("fake-devices");
    CHECK(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
  }
  ~DeviceHostFake() override {
    loop_->Stop();
    devices_.clear();
  }

  // Builds a device and keeps it.
  absl::Status Plug(const DeviceFactory& factory) {
    absl::StatusOr<std::unique_ptr<Device>> device = factory(*this);
    if (!device.ok()) return device.status();
    devices_.push_back(*std::move(device));
    return absl::OkStatus();
  }

  // Guest accesses. A doorbell takes a write before the bus does, as in KVM.
  uint64_t In(uint16_t port, size_t width) { return ReadFrom(pio_, port, width); }
  void Out(uint16_t port, size_t width, uint64_t value) { WriteTo(pio_, port, width, value); }
  uint64_t ReadMmio(uint64_t gpa, size_t width) { return ReadFrom(mmio_, gpa, width); }
  void WriteMmio(uint64_t gpa, size_t width, uint64_t value) {
    if (!RingDoorbell(gpa)) WriteTo(mmio_, gpa, width, value);
  }
  // False if no IoEvent is registered there.
  bool RingDoorbell(uint64_t gpa) {
    absl::MutexLock lock(&mutex_);
    auto it = doorbells_.find(gpa);
    if (it == doorbells_.end()) return false;
    eventfd_write(it->second, 1);
    return true;
  }
  // Waits until the loop has handled all that was signalled or posted before, and what that led to.
  void Settle() {
    for (int round = 0; round < 8; ++round) {
      absl::Notification done;
      loop_->Post([&done] { done.Notify(); });
      done.WaitForNotification();
    }
  }

  // What the devices did.
  int InterruptCount(uint32_t gsi) {
    absl::MutexLock lock(&mutex_);
    return interrupts_[gsi];
  }
  std::vector<Message> TakeMessages() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(messages_, {});
  }
  std::vector<RunEnd> ends() {
    absl::MutexLock lock(&mutex_);
    return ends_;
  }
  // From now on SetMessage, or RegisterIoEvent, fails: a host at its limits.
  void RefuseMessages() {
    absl::MutexLock lock(&mutex_);
    refuse_messages_ = true;
  }
  void RefuseIoEvents() {
    absl::MutexLock lock(&mutex_);
    refuse_io_events_ = true;
  }

  GuestMemory& memory() override { return *memory_; }
  Bus& pio() override { return pio_; }
  Bus& mmio() override { return mmio_; }
  EventLoop& loop() override { return *loop_; }

  absl::StatusOr<std::unique_ptr<Interrupt>> CreateInterrupt(uint32_t gsi) override {
    return std::make_unique<Line>(*this, gsi);
  }
  absl::StatusOr<std::unique_ptr<MsiInterrupt>> CreateMsiInterrupt() override {
    return std::make_unique<Msi>(*this);
  }
  absl::StatusOr<std::unique_ptr<IoEvent>> RegisterIoEvent(uint64_t gpa, int eventfd) override {
    absl::MutexLock lock(&mutex_);
    if (refuse_io_events_) return absl::ResourceExhaustedError("fake: no ioeventfd left");
    if (!doorbells_.emplace(gpa, eventfd).second) {
      return absl::AlreadyExistsError("fake: a doorbell is there already");
    }
    return std::make_unique<Doorbell>(*this, gpa);
  }
  void RequestEnd(RunEndKind kind, std::string_view detail) override {
    absl::MutexLock lock(&mutex_);
    ends_.push_back({kind, std::string(detail)});
  }

 private:
  class Line : public Interrupt {
   public:
    Line(DeviceHostFake& host, uint32_t gsi) : host_(host), gsi_(gsi) {}
    void Trigger() override {
      absl::MutexLock lock(&host_.mutex_);
      ++host_.interrupts_[gsi_];
    }

   private:
    DeviceHostFake& host_;
    const uint32_t gsi_;
  };
  class Msi : public MsiInterrupt {
   public:
    explicit Msi(DeviceHostFake& host) : host_(host) {}
    absl::Status SetMessage(uint64_t address, uint32_t data) override {
      absl::MutexLock lock(&host_.mutex_);
      if (host_.refuse_messages_) return absl::ResourceExhaustedError("fake: no route left");
      message_ = {address, data};
      return absl::OkStatus();
    }
    void Trigger() override {
      absl::MutexLock lock(&host_.mutex_);
      host_.messages_.push_back(message_);
    }

   private:
    DeviceHostFake& host_;
    Message message_ = {};  // under the host's mutex
  };
  class Doorbell : public IoEvent {
   public:
    Doorbell(DeviceHostFake& host, uint64_t gpa) : host_(host), gpa_(gpa) {}
    ~Doorbell() override {
      absl::MutexLock lock(&host_.mutex_);
      host_.doorbells_.erase(gpa_);
    }

   private:
    DeviceHostFake& host_;
    const uint64_t gpa_;
  };

  static uint64_t ReadFrom(Bus& bus, uint64_t address, size_t width) {
    uint8_t bytes[8] = {};
    bus.Read(address, absl::MakeSpan(bytes, width));
    return LoadLittleEndian(absl::MakeConstSpan(bytes, width));
  }
  static void WriteTo(Bus& bus, uint64_t address, size_t width, uint64_t value) {
    uint8_t bytes[8];
    StoreLittleEndian(value, absl::MakeSpan(bytes));
    bus.Write(address, absl::MakeConstSpan(bytes, width));
  }

  std::unique_ptr<GuestMemory> memory_;
  Bus pio_{"pio"};
  Bus mmio_{"mmio"};
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::unique_ptr<Device>> devices_;

  absl::Mutex mutex_;
  std::map<uint32_t, int> interrupts_ ABSL_GUARDED_BY(mutex_);
  std::vector<Message> messages_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, int> doorbells_ ABSL_GUARDED_BY(mutex_);
  std::vector<RunEnd> ends_ ABSL_GUARDED_BY(mutex_);
  bool refuse_messages_ ABSL_GUARDED_BY(mutex_) = false;
  bool refuse_io_events_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_DEVICE_HOST_FAKE_H_
