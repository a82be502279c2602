// Uart: a 16550A at COM1, for earlyprintk and ttyS0.
//
// Output is instantaneous: the transmitter is always empty, and a transmit interrupt follows each
// byte at once. No modem, no baud rate: the divisor is stored and ignored.
// Threads: registers on vCPU threads, Input on any. The sink is called on the vCPU thread that
// wrote, one call at a time: it must be quick and must not call back.
// Errors: none from the guest; input beyond kInputLimit bytes is dropped, as a real FIFO overruns.
// Constants: National Semiconductor PC16550D, §8 (registers).
#ifndef WATCHSNAP_DEVICES_UART_H_
#define WATCHSNAP_DEVICES_UART_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "vmm/device_host.h"
#include "vmm/io_handler.h"

namespace watchsnap {

class Uart : public Device, public IoHandler {
 public:
  using Sink = std::function<void(std::string_view)>;
  static constexpr uint64_t kSize = 8;  // registers
  static constexpr size_t kInputLimit = 4096;

  // Maps the UART at layout::kUartPort. An empty sink discards output.
  static absl::StatusOr<std::unique_ptr<Uart>> Create(DeviceHost& host, Sink sink);

  std::string_view Name() const override { return "uart"; }
  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;

  // Bytes for the guest to read.
  void Input(std::string_view bytes);

 private:
  Uart(std::unique_ptr<Interrupt> interrupt, Sink sink)
      : interrupt_(std::move(interrupt)), sink_(std::move(sink)) {}

  uint8_t ReadRegister(uint64_t offset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteRegister(uint64_t offset, uint8_t value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The cause that IIR shows now: one of the kIir… values.
  uint8_t PendingCause() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool LineHigh() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PushInput(uint8_t byte) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<Interrupt> interrupt_;
  const Sink sink_;

  absl::Mutex mutex_;
  std::deque<uint8_t> input_ ABSL_GUARDED_BY(mutex_);
  // An empty transmitter was not yet reported through IIR.
  bool transmit_pending_ ABSL_GUARDED_BY(mutex_) = false;
  uint8_t interrupt_enable_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t fifo_control_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t line_control_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t modem_control_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t scratch_ ABSL_GUARDED_BY(mutex_) = 0;
  uint8_t divisor_[2] ABSL_GUARDED_BY(mutex_) = {1, 0};
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_UART_H_
