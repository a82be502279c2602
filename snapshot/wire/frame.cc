#include "snapshot/wire/frame.h"

#include <cstring>
#include <string_view>

#include "absl/crc/crc32c.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "snapshot/wire/byte_order.h"

namespace watchsnap {
namespace {

std::string_view AsText(const uint8_t* data, size_t size) {
  return std::string_view(reinterpret_cast<const char*>(data), size);
}

uint32_t HeaderCheck(const uint8_t* header) {
  return static_cast<uint32_t>(absl::ComputeCrc32c(AsText(header, kHeaderCheckOffset)));
}

}  // namespace

absl::StatusOr<std::string> EncodeFrame(MessageType type, uint32_t sequence,
                                        absl::Span<const uint8_t> payload) {
  if (payload.size() > kMaxPayloadBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a frame of the control channel carries at most ", kMaxPayloadBytes,
                     " bytes of payload, this message has ", payload.size(),
                     "; use a shorter tag, symbol or text"));
  }
  if (FindFrameHeader(payload, 0) != payload.size()) {
    return absl::InvalidArgumentError(
        "the message contains the header of a control channel frame, which may not stand inside "
        "another one; use another tag, symbol or text");
  }
  std::string frame(kFrameHeaderBytes + payload.size(), '\0');
  auto* bytes = reinterpret_cast<uint8_t*>(frame.data());
  std::memcpy(bytes, kFrameMagic.data(), kFrameMagic.size());
  bytes[kVersionOffset] = kWireVersion;
  bytes[kTypeOffset] = static_cast<uint8_t>(type);
  StoreLittleEndian<uint16_t>(0, bytes + kFlagsOffset);
  StoreLittleEndian<uint32_t>(sequence, bytes + kSequenceOffset);
  StoreLittleEndian<uint32_t>(static_cast<uint32_t>(payload.size()), bytes + kLengthOffset);
  if (!payload.empty()) std::memcpy(bytes + kFrameHeaderBytes, payload.data(), payload.size());
  RepairChecks(frame);
  return frame;
}

bool IsFrameHeader(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= kFrameCheckOffset &&
         std::memcmp(bytes.data(), kFrameMagic.data(), kFrameMagic.size()) == 0 &&
         LoadLittleEndian<uint32_t>(bytes.data() + kHeaderCheckOffset) == HeaderCheck(bytes.data());
}

FrameHeader LoadFrameHeader(const uint8_t* bytes) {
  return FrameHeader{.version = bytes[kVersionOffset],
                     .type = bytes[kTypeOffset],
                     .flags = LoadLittleEndian<uint16_t>(bytes + kFlagsOffset),
                     .sequence = LoadLittleEndian<uint32_t>(bytes + kSequenceOffset),
                     .payload_bytes = LoadLittleEndian<uint32_t>(bytes + kLengthOffset)};
}

uint32_t ComputeFrameCheck(absl::Span<const uint8_t> frame) {
  const absl::crc32c_t head = absl::ComputeCrc32c(AsText(frame.data(), kFrameCheckOffset));
  const auto payload = frame.subspan(kFrameHeaderBytes);
  return static_cast<uint32_t>(absl::ExtendCrc32c(head, AsText(payload.data(), payload.size())));
}

size_t FindFrameHeader(absl::Span<const uint8_t> bytes, size_t from) {
  while (from < bytes.size() && bytes.size() - from >= kFrameCheckOffset) {
    const void* first = std::memchr(bytes.data() + from, kFrameMagic[0], bytes.size() - from);
    if (first == nullptr) break;
    from = static_cast<size_t>(static_cast<const uint8_t*>(first) - bytes.data());
    if (IsFrameHeader(bytes.subspan(from))) return from;
    ++from;
  }
  return bytes.size();
}

void RepairChecks(std::string& frame) {
  if (frame.size() < kFrameHeaderBytes) return;
  auto* bytes = reinterpret_cast<uint8_t*>(frame.data());
  StoreLittleEndian<uint32_t>(HeaderCheck(bytes), bytes + kHeaderCheckOffset);
  StoreLittleEndian<uint32_t>(ComputeFrameCheck(absl::MakeConstSpan(bytes, frame.size())),
                              bytes + kFrameCheckOffset);
}

}  // namespace watchsnap
