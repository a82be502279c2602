// Building one frame, and the two checks of a frame's header (see wire_format.h for the bytes).
//
// Threads: free functions without state. Ownership: results own their bytes.
// Errors: EncodeFrame refuses a payload that no decoder could take back; it never shortens one.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_FRAME_H_
#define WATCHSNAP_SNAPSHOT_WIRE_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "snapshot/wire/wire_format.h"

namespace watchsnap {

// Returns the whole frame. RESOURCE_EXHAUSTED if the payload is larger than kMaxPayloadBytes,
// INVALID_ARGUMENT if a frame's header stands inside it.
absl::StatusOr<std::string> EncodeFrame(MessageType type, uint32_t sequence,
                                        absl::Span<const uint8_t> payload);

// True if `bytes` begins with the magic and a header whose own check holds. Needs kFrameCheckOffset
// bytes; fewer are false.
bool IsFrameHeader(absl::Span<const uint8_t> bytes);

// Reads a header that IsFrameHeader accepted.
FrameHeader LoadFrameHeader(const uint8_t* bytes);

// The frame check of a complete frame: its first kFrameCheckOffset bytes, then its payload.
uint32_t ComputeFrameCheck(absl::Span<const uint8_t> frame);

// The first position at or after `from` where a header accepted by IsFrameHeader starts, or
// bytes.size().
size_t FindFrameHeader(absl::Span<const uint8_t> bytes, size_t from);

// Recomputes both checks of a frame whose bytes were changed: for tests and fuzzers that want to
// reach behind the checks. The payload length in the header is left as it is; frames shorter than a
// header are left alone.
void RepairChecks(std::string& frame);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_FRAME_H_
