// DeviceHost: what a device may ask of the machine it is plugged into, and Device, what the machine
// asks of a device. vmm knows no concrete device; `devices/` implements these.
//
// Threads: everything here may be called from any thread once the machine is built; registration
// (Bus::Insert, CreateInterrupt, RegisterIoEvent) normally happens while devices are built.
// Ownership: the machine owns its devices and destroys them after all vCPUs and the event loop have
// stopped, before memory and the VM go.
#ifndef WATCHSNAP_VMM_DEVICE_HOST_H_
#define WATCHSNAP_VMM_DEVICE_HOST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/bus.h"
#include "vmm/event_loop.h"
#include "vmm/guest_memory.h"
#include "vmm/run_end.h"

namespace watchsnap {

// One interrupt source bound to the in-kernel interrupt controller through an irqfd.
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  // Raises the (edge) interrupt once. Any thread; does not block.
  virtual void Trigger() = 0;
};

// A message-signalled interrupt: its address and data are set by the guest (MSI-X table entry).
class MsiInterrupt : public Interrupt {
 public:
  // Routes future triggers to this message. PCI Local Bus 3.0 §6.8.2. Any thread.
  virtual absl::Status SetMessage(uint64_t address, uint32_t data) = 0;
};

// A doorbell: a guest write of any value to `address` signals an eventfd in the kernel, with no exit
// to a vCPU thread. Unregisters on destruction.
class IoEvent {
 public:
  virtual ~IoEvent() = default;
};

class DeviceHost {
 public:
  virtual ~DeviceHost() = default;

  virtual GuestMemory& memory() = 0;
  virtual Bus& pio() = 0;
  virtual Bus& mmio() = 0;
  // One thread per machine on which devices do their work (virtqueues, host input).
  virtual EventLoop& loop() = 0;

  // A legacy interrupt line by its global system interrupt number (ISA IRQ), edge-triggered.
  virtual absl::StatusOr<std::unique_ptr<Interrupt>> CreateInterrupt(uint32_t gsi) = 0;
  virtual absl::StatusOr<std::unique_ptr<MsiInterrupt>> CreateMsiInterrupt() = 0;
  // MMIO doorbell at `gpa`; `eventfd` stays the caller's. Length 0 matches any access size.
  virtual absl::StatusOr<std::unique_ptr<IoEvent>> RegisterIoEvent(uint64_t gpa, int eventfd) = 0;

  // The guest asked, through a device, for the machine to end (power-off, reset). Returns at once;
  // the calling vCPU may still run a few instructions. The first request of a run holds.
  virtual void RequestEnd(RunEndKind kind, std::string_view detail) = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string_view Name() const = 0;
};

// Builds one device and maps it. Called once per machine, on the thread that creates the machine,
// before any vCPU runs.
using DeviceFactory = std::function<absl::StatusOr<std::unique_ptr<Device>>(DeviceHost& host)>;

}  // namespace watchsnap

#endif  // WATCHSNAP_VMM_DEVICE_HOST_H_
