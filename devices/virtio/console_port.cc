#include "devices/virtio/console_port.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace watchsnap {

void ConsolePort::SetReceiver(Receiver receiver) {
  absl::MutexLock lock(&receiver_mutex_);
  receiver_ = std::move(receiver);
}

absl::Status ConsolePort::Send(absl::Span<const uint8_t> bytes) {
  absl::MutexLock lock(&mutex_);
  const size_t queued = waiting_.size() - taken_;
  if (bytes.size() > send_limit_ - queued) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "console port: ", bytes.size(), " bytes do not fit: ", queued, " of at most ", send_limit_,
        " still wait for the guest, which ", guest_open_ ? "does not read" : "has not opened it"));
  }
  waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
  if (kick_) kick_();
  return absl::OkStatus();
}

bool ConsolePort::guest_open() const {
  absl::MutexLock lock(&mutex_);
  return guest_open_;
}

absl::Status ConsolePort::Attach(std::function<void()> kick) {
  absl::MutexLock lock(&mutex_);
  if (attached_) {
    return absl::FailedPreconditionError(
        "console port: it is attached to another console; make one port for each machine");
  }
  attached_ = true;
  kick_ = std::move(kick);
  return absl::OkStatus();
}

void ConsolePort::Detach() {
  SetGuestOpen(false);
  absl::MutexLock lock(&mutex_);
  attached_ = false;
  kick_ = nullptr;
}

void ConsolePort::SetGuestOpen(bool open) {
  absl::MutexLock lock(&mutex_);
  if (guest_open_ && !open) {
    waiting_.clear();
    taken_ = 0;
  }
  guest_open_ = open;
}

void ConsolePort::Deliver(absl::Span<const uint8_t> bytes) {
  absl::MutexLock lock(&receiver_mutex_);
  if (receiver_) receiver_(bytes);
}

bool ConsolePort::HasBytesForGuest() const {
  absl::MutexLock lock(&mutex_);
  return guest_open_ && waiting_.size() > taken_;
}

uint32_t ConsolePort::Take(const DescriptorChain& chain) {
  absl::MutexLock lock(&mutex_);
  const uint32_t count = chain.CopyFrom(absl::MakeConstSpan(waiting_).subspan(taken_));
  taken_ += count;
  if (taken_ == waiting_.size()) {
    waiting_.clear();
    taken_ = 0;
  } else if (taken_ > send_limit_) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + taken_);
    taken_ = 0;
  }
  return count;
}

}  // namespace watchsnap
