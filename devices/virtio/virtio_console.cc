#include "devices/virtio/virtio_console.h"

#include <cstring>
#include <utility>

#include "absl/log/check.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr uint16_t kTypeConsole = 3;
constexpr uint32_t kPciClassOtherCommunication = 0x078000;
constexpr uint64_t kFeatureMultiport = uint64_t{1} << 1;
constexpr uint16_t kQueueSize = 128;
constexpr size_t kConfigMaxPorts = 4;  // offset of max_nr_ports

// Queues: 0 and 1 belong to port 0, 2 and 3 to control, then two for each further port; even ones
// carry bytes to the guest.
constexpr uint16_t kControlToGuest = 2, kControlFromGuest = 3;
uint16_t ToGuestQueue(size_t port) { return port == 0 ? 0 : static_cast<uint16_t>(2 * port + 2); }

struct ControlMessage {
  uint32_t id;
  uint16_t event;
  uint16_t value;
};
static_assert(sizeof(ControlMessage) == 8);
enum ControlEvent : uint16_t {
  kDeviceReady = 0,
  kPortAdd = 1,
  kPortReady = 3,
  kConsolePort = 4,
  kPortOpen = 6,
  kPortName = 7,
};

// Work of one call of HandleQueue, so that no guest keeps the loop's thread to itself.
constexpr int kChainsPerCall = 256;
constexpr size_t kBytesPerCall = 256 << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<VirtioConsole>> VirtioConsole::Create(
    std::vector<PortOptions> ports) {
  CHECK(!ports.empty()) << "a virtio-console needs port 0";
  auto console = std::unique_ptr<VirtioConsole>(new VirtioConsole(std::move(ports)));
  VirtioConsole* raw = console.get();
  for (size_t i = 0; i < raw->ports_.size(); ++i) {
    Port& port = raw->ports_[i];
    CHECK(port.host != nullptr) << "virtio-console port " << i;
    absl::Status status = port.host->Attach([raw, i] { raw->KickQueue(ToGuestQueue(i)); });
    if (!status.ok()) return status;
    port.attached = true;
  }
  return console;
}

VirtioConsole::VirtioConsole(std::vector<PortOptions> ports) {
  for (PortOptions& options : ports) {
    ports_.push_back({.name = std::move(options.name), .host = std::move(options.port)});
  }
  traits_ = {.name = "virtio-console",
             .type = kTypeConsole,
             .pci_class = kPciClassOtherCommunication,
             .features = kFeatureMultiport,
             .queue_sizes = std::vector<uint16_t>(2 * ports_.size() + 2, kQueueSize)};
  const uint32_t max_ports = static_cast<uint32_t>(ports_.size());
  std::memcpy(&config_[kConfigMaxPorts], &max_ports, sizeof max_ports);
}

VirtioConsole::~VirtioConsole() {
  for (Port& port : ports_) {
    if (port.attached) port.host->Detach();
  }
}

void VirtioConsole::ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const {
  ReadBytes(config_, offset, data);
}

void VirtioConsole::OnReset() {
  device_ready_ = false;
  control_.clear();
  for (Port& port : ports_) {
    port.ready = false;
    port.host->SetGuestOpen(false);
  }
}

absl::StatusOr<QueueProgress> VirtioConsole::HandleQueue(uint16_t index, QueueContext& context) {
  if (index == kControlToGuest) return SendControl(context);
  if (index == kControlFromGuest) return ReceiveControl(context);
  Port& port = ports_[index < kControlToGuest ? 0 : (index - 2) / 2];
  return index % 2 == 0 ? SendToGuest(port, context) : ReceiveFromGuest(port, context);
}

absl::StatusOr<QueueProgress> VirtioConsole::SendToGuest(Port& port, QueueContext& context) {
  DescriptorChain chain;
  for (int i = 0; i < kChainsPerCall; ++i) {
    if (!port.host->HasBytesForGuest()) return QueueProgress::kDone;
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) return QueueProgress::kDone;
    context.queue().Push(chain, port.host->Take(chain));
  }
  return QueueProgress::kMore;
}

absl::StatusOr<QueueProgress> VirtioConsole::ReceiveFromGuest(Port& port, QueueContext& context) {
  std::vector<uint8_t> bytes;
  DescriptorChain chain;
  QueueProgress progress = QueueProgress::kMore;
  for (int i = 0; i < kChainsPerCall && bytes.size() < kBytesPerCall; ++i) {
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) {
      progress = QueueProgress::kDone;
      break;
    }
    if (chain.ReadableBytes() > kMaxChainBytes) {
      return absl::DataLossError(
          absl::StrFormat("virtio-console: one buffer of %d bytes; at most %d are taken",
                          chain.ReadableBytes(), kMaxChainBytes));
    }
    chain.AppendTo(bytes);
    context.queue().Push(chain, 0);
  }
  if (!bytes.empty()) {
    context.Defer([host = port.host, bytes = std::move(bytes)] { host->Deliver(bytes); });
  }
  return progress;
}

absl::StatusOr<QueueProgress> VirtioConsole::SendControl(QueueContext& context) {
  DescriptorChain chain;
  while (!control_.empty()) {
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) break;
    const std::string& message = control_.front();
    context.queue().Push(
        chain, chain.CopyFrom(absl::MakeConstSpan(
                   reinterpret_cast<const uint8_t*>(message.data()), message.size())));
    control_.pop_front();
  }
  return QueueProgress::kDone;
}

absl::StatusOr<QueueProgress> VirtioConsole::ReceiveControl(QueueContext& context) {
  DescriptorChain chain;
  for (int i = 0; i < kChainsPerCall; ++i) {
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) return QueueProgress::kDone;
    std::vector<uint8_t> bytes;
    if (chain.ReadableBytes() <= kMaxChainBytes) chain.AppendTo(bytes);
    context.queue().Push(chain, 0);
    ControlMessage message;
    if (bytes.size() < sizeof message) continue;
    std::memcpy(&message, bytes.data(), sizeof message);
    HandleControl(message.id, message.event, message.value);
  }
  return QueueProgress::kMore;
}

void VirtioConsole::HandleControl(uint32_t id, uint16_t event, uint16_t value) {
  if (event == kDeviceReady) {
    if (value != 1 || device_ready_) return;
    device_ready_ = true;
    for (uint32_t i = 0; i < ports_.size(); ++i) QueueControl(i, kPortAdd, 1);
    return;
  }
  if (id >= ports_.size()) return;
  Port& port = ports_[id];
  if (event == kPortReady && value == 1 && !port.ready) {
    port.ready = true;
    if (id == 0) QueueControl(id, kConsolePort, 1);
    if (!port.name.empty()) QueueControl(id, kPortName, 1, port.name);
    QueueControl(id, kPortOpen, 1);
  } else if (event == kPortOpen) {
    port.host->SetGuestOpen(value != 0);
    if (value != 0) KickQueue(ToGuestQueue(id));
  }
}

void VirtioConsole::QueueControl(uint32_t id, uint16_t event, uint16_t value,
                                 std::string_view text) {
  const ControlMessage message = {id, event, value};
  std::string bytes(reinterpret_cast<const char*>(&message), sizeof message);
  bytes.append(text);
  control_.push_back(std::move(bytes));
  KickQueue(kControlToGuest);
}

}  // namespace watchsnap
