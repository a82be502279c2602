#include "devices/uart.h"

#include <utility>

#include "vmm/x86_64/layout.h"

namespace watchsnap {
namespace {

// Register offsets.
constexpr uint64_t kData = 0;             // divisor low while DLAB
constexpr uint64_t kInterruptEnable = 1;  // divisor high while DLAB
constexpr uint64_t kInterruptId = 2;      // FIFO control when written
constexpr uint64_t kLineControl = 3;
constexpr uint64_t kModemControl = 4;
constexpr uint64_t kLineStatus = 5;
constexpr uint64_t kModemStatus = 6;
constexpr uint64_t kScratch = 7;

constexpr uint8_t kIerReceive = 0x01;
constexpr uint8_t kIerTransmit = 0x02;
constexpr uint8_t kIerMask = 0x0f;

constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirTransmit = 0x02;
constexpr uint8_t kIirReceive = 0x04;
constexpr uint8_t kIirFifosEnabled = 0xc0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrClearReceive = 0x02;

constexpr uint8_t kLcrDlab = 0x80;

constexpr uint8_t kMcrDtr = 0x01;
constexpr uint8_t kMcrRts = 0x02;
constexpr uint8_t kMcrOut1 = 0x04;
constexpr uint8_t kMcrOut2 = 0x08;  // on a PC, gates the interrupt line
constexpr uint8_t kMcrLoop = 0x10;
constexpr uint8_t kMcrMask = 0x1f;

constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrTransmitterEmpty = 0x60;  // holding register and shift register

constexpr uint8_t kMsrCts = 0x10;
constexpr uint8_t kMsrDsr = 0x20;
constexpr uint8_t kMsrRi = 0x40;
constexpr uint8_t kMsrDcd = 0x80;

}  // namespace

absl::StatusOr<std::unique_ptr<Uart>> Uart::Create(DeviceHost& host, Sink sink) {
  absl::StatusOr<std::unique_ptr<Interrupt>> interrupt = host.CreateInterrupt(layout::kUartIrq);
  if (!interrupt.ok()) return interrupt.status();
  auto uart = std::unique_ptr<Uart>(new Uart(*std::move(interrupt), std::move(sink)));
  if (absl::Status s = host.pio().Insert(layout::kUartPort, kSize, uart.get()); !s.ok()) return s;
  return uart;
}

uint8_t Uart::PendingCause() const {
  if ((interrupt_enable_ & kIerReceive) && !input_.empty()) return kIirReceive;
  if ((interrupt_enable_ & kIerTransmit) && transmit_pending_) return kIirTransmit;
  return kIirNone;
}

bool Uart::LineHigh() const {
  return PendingCause() != kIirNone && (modem_control_ & kMcrOut2) && !(modem_control_ & kMcrLoop);
}

void Uart::PushInput(uint8_t byte) {
  if (input_.size() < kInputLimit) input_.push_back(byte);
}

void Uart::Read(uint64_t offset, absl::Span<uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  // A wide access to an 8-bit device is a sequence of byte accesses, as on an ISA bus.
  for (size_t i = 0; i < data.size(); ++i) data[i] = ReadRegister(offset + i);
}

uint8_t Uart::ReadRegister(uint64_t offset) {
  switch (offset) {
    case kData: {
      if (line_control_ & kLcrDlab) return divisor_[0];
      if (input_.empty()) return 0;
      const uint8_t byte = input_.front();
      input_.pop_front();
      return byte;
    }
    case kInterruptEnable:
      return (line_control_ & kLcrDlab) ? divisor_[1] : interrupt_enable_;
    case kInterruptId: {
      const uint8_t cause = PendingCause();
      // Reading the identification acknowledges the transmitter's interrupt, and only that.
      if (cause == kIirTransmit) transmit_pending_ = false;
      return cause | ((fifo_control_ & kFcrEnable) ? kIirFifosEnabled : 0);
    }
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return kLsrTransmitterEmpty | (input_.empty() ? 0 : kLsrDataReady);
    case kModemStatus: {
      if (!(modem_control_ & kMcrLoop)) return kMsrDcd | kMsrDsr | kMsrCts;
      // Loop-back wires the outputs to the inputs; drivers probe for a UART this way.
      uint8_t status = 0;
      if (modem_control_ & kMcrDtr) status |= kMsrDsr;
      if (modem_control_ & kMcrRts) status |= kMsrCts;
      if (modem_control_ & kMcrOut1) status |= kMsrRi;
      if (modem_control_ & kMcrOut2) status |= kMsrDcd;
      return status;
    }
    case kScratch:
      return scratch_;
    default:
      return 0xff;
  }
}

void Uart::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < data.size(); ++i) WriteRegister(offset + i, data[i]);
}

void Uart::WriteRegister(uint64_t offset, uint8_t value) {
  bool raise = false;
  const bool was_high = LineHigh();
  switch (offset) {
    case kData:
      if (line_control_ & kLcrDlab) {
        divisor_[0] = value;
        break;
      }
      if (modem_control_ & kMcrLoop) {
        PushInput(value);
      } else if (sink_) {
        const char byte = static_cast<char>(value);
        sink_(std::string_view(&byte, 1));
      }
      // Full and empty again in no time: another edge, even if the last was not acknowledged.
      transmit_pending_ = true;
      raise = true;
      break;
    case kInterruptEnable:
      if (line_control_ & kLcrDlab) {
        divisor_[1] = value;
        break;
      }
      // Enabling the transmit interrupt while the transmitter is empty reports it (PC16550D
      // §8.6.4).
      if ((value & kIerTransmit) && !(interrupt_enable_ & kIerTransmit)) transmit_pending_ = true;
      interrupt_enable_ = value & kIerMask;
      break;
    case kInterruptId:
      fifo_control_ = value;
      if (value & kFcrClearReceive) input_.clear();
      break;
    case kLineControl:
      line_control_ = value;
      break;
    case kModemControl:
      modem_control_ = value & kMcrMask;
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:  // the status registers are read-only
      break;
  }
  if (LineHigh() && (raise || !was_high)) interrupt_->Trigger();
}

void Uart::Input(std::string_view bytes) {
  absl::MutexLock lock(&mutex_);
  for (char byte : bytes) PushInput(static_cast<uint8_t>(byte));
  if (LineHigh()) interrupt_->Trigger();
}

}  // namespace watchsnap
