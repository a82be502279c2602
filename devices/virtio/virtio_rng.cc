#include "devices/virtio/virtio_rng.h"

#include <sys/random.h>

#include <algorithm>

namespace watchsnap {
namespace {
constexpr int kChainsPerCall = 64;
}  // namespace

void VirtioRng::ReadConfig(uint64_t offset, absl::Span<uint8_t> data) const {
  ReadBytes({}, offset, data);
}

absl::StatusOr<QueueProgress> VirtioRng::HandleQueue(uint16_t /*index*/, QueueContext& context) {
  DescriptorChain chain;
  uint8_t bytes[kMaxBytes];
  for (int i = 0; i < kChainsPerCall; ++i) {
    absl::StatusOr<bool> popped = context.queue().Pop(&chain);
    if (!popped.ok()) return popped.status();
    if (!*popped) return QueueProgress::kDone;
    const size_t wanted = std::min<uint64_t>(chain.WritableBytes(), kMaxBytes);
    // Not blocking: a host so young that it has no entropy gives none on.
    const ssize_t got = getrandom(bytes, wanted, GRND_NONBLOCK);
    context.queue().Push(chain,
                         chain.CopyFrom(absl::MakeConstSpan(bytes, std::max<ssize_t>(got, 0))));
  }
  return QueueProgress::kMore;
}

}  // namespace watchsnap
