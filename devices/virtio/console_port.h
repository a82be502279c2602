// ConsolePort: the host's end of one port of a virtio-console: a byte stream both ways with the
// guest.
//
// Made before the machine, shared with it, attached to at most one machine at a time by the console
// that is built with it. A stream has no message boundaries, but bytes of one Send are never mixed
// with those of another, nor sent in part: framing is the consumer's.
//
//   auto port = std::make_shared<ConsolePort>();
//   port->SetReceiver([](absl::Span<const uint8_t> bytes) { … });
//   … build a machine with it, run …
//   port->Send(reply).IgnoreError();
//
// Threads: every method from any thread. The receiver runs on the machine's loop thread with no
// lock of the device held: it may Send, and should not take long, for it holds up the machine's
// devices.
// Guest input: the bytes are hostile, and come in pieces of any size.
// Errors: Send returns ResourceExhausted, and queues nothing, past `send_limit` bytes that the
// guest did not take yet.
#ifndef WATCHSNAP_DEVICES_VIRTIO_CONSOLE_PORT_H_
#define WATCHSNAP_DEVICES_VIRTIO_CONSOLE_PORT_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "devices/virtio/virtqueue.h"

namespace watchsnap {

class ConsolePort {
 public:
  using Receiver = std::function<void(absl::Span<const uint8_t>)>;
  static constexpr size_t kDefaultSendLimit = 1 << 20;

  explicit ConsolePort(size_t send_limit = kDefaultSendLimit) : send_limit_(send_limit) {}
  ConsolePort(const ConsolePort&) = delete;
  ConsolePort& operator=(const ConsolePort&) = delete;

  // Replaces the receiver; an empty one discards. After it returns, the one before is not running
  // and will not run again. Not from inside a receiver.
  void SetReceiver(Receiver receiver);
  // Queues bytes for the guest. They wait until the guest has opened the port and given buffers;
  // what waits when the guest closes the port, or resets the device, is dropped.
  absl::Status Send(absl::Span<const uint8_t> bytes);
  // The guest has the port open (/dev/vport…p1 opened by a process).
  bool guest_open() const;

 private:
  friend class VirtioConsole;

  // `kick` (any thread, must not block) is called when there is something to send.
  absl::Status Attach(std::function<void()> kick);
  void Detach();
  void SetGuestOpen(bool open);
  void Deliver(absl::Span<const uint8_t> bytes);
  bool HasBytesForGuest() const;
  // Moves waiting bytes into the chain; returns how many.
  uint32_t Take(const DescriptorChain& chain);

  const size_t send_limit_;
  absl::Mutex receiver_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  Receiver receiver_ ABSL_GUARDED_BY(receiver_mutex_);
  mutable absl::Mutex mutex_;
  std::function<void()> kick_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint8_t> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t taken_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes at the front of `waiting_` that are gone
  bool attached_ ABSL_GUARDED_BY(mutex_) = false;
  bool guest_open_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_DEVICES_VIRTIO_CONSOLE_PORT_H_
