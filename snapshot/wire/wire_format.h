// The bytes of the control channel (virtio-console port 1): one frame, its header, its fields.
//
// What it is for: the guest asks the host for captures and watches, the host answers. Both sides
// are this code: the host links it into the watch-snapshot device, the guest into its statically
// linked /init.
//
//            0       1       2       3       4       5       6       7
//        +-------+-------+-------+-------+-------+-------+-------+-------+
//     0  |  magic: 0xF7 'W' 'S' 0xFB     |version| type  |     flags     |
//        +-------+-------+-------+-------+-------+-------+-------+-------+
//     8  |           sequence            |        payload length         |
//        +-------+-------+-------+-------+-------+-------+-------+-------+
//    16  |         header check          |          frame check          |
//        +-------+-------+-------+-------+-------+-------+-------+-------+
//    24  |  payload: fields, one after the other                         |
//        |    +-------+-------+-------+-------+-------+-------+-- - -    |
//        |    |      tag      |            length             |  bytes   |
//        |    +-------+-------+-------+-------+-------+-------+-- - -    |
//        +-------+-------+-------+-------+-------+-------+-------+-------+
//
// The header check is the CRC-32C of the bytes 0 to 15, the frame check that of the bytes 0 to 19
// and the payload. All integers are little endian and unaligned. A frame is at most 64 KiB, header
// included.
//
// Why two checks. The header has one of its own, so a damaged length is noticed as soon as the
// header is there, and never waited for. A length that was *right* but whose bytes never come (the
// sender died and began anew) is noticed too: **a magic followed by a valid header check never
// stands inside a payload** (encoders refuse to build such a payload), so where the decoder sees
// one, the frame around it was cut short; it is reported bad and the new one is read. Nothing that
// was sent whole after damage is lost, however the bytes are split.
//
// The first and last byte of the magic never occur in UTF-8, so text on the port cannot be mistaken
// for it.
//
// Compatibility: unknown *types* are answered negatively, unknown *fields* are skipped, unknown
// flags and versions are refused.
//
// CRC-32C: the Castagnoli polynomial of RFC 3720 appendix B.4, as absl::ComputeCrc32c computes it.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_WIRE_FORMAT_H_
#define WATCHSNAP_SNAPSHOT_WIRE_WIRE_FORMAT_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace watchsnap {

inline constexpr std::array<uint8_t, 4> kFrameMagic = {0xF7, 'W', 'S', 0xFB};
inline constexpr uint8_t kWireVersion = 1;

// Offsets of the header's members.
inline constexpr size_t kVersionOffset = 4;
inline constexpr size_t kTypeOffset = 5;
inline constexpr size_t kFlagsOffset = 6;
inline constexpr size_t kSequenceOffset = 8;
inline constexpr size_t kLengthOffset = 12;
inline constexpr size_t kHeaderCheckOffset = 16;
inline constexpr size_t kFrameCheckOffset = 20;
inline constexpr size_t kFrameHeaderBytes = 24;

inline constexpr size_t kMaxFrameBytes = 64 * 1024;
inline constexpr size_t kMaxPayloadBytes = kMaxFrameBytes - kFrameHeaderBytes;
inline constexpr size_t kFieldHeaderBytes = 6;

// The longest tag or symbol a request can carry: what is left beside the request's other fields.
inline constexpr size_t kMaxSubjectBytes = kMaxPayloadBytes - 192;

// Repeated fields (details, parameters) of one frame: more is a bad frame.
inline constexpr size_t kMaxRepeatedFields = 1000;

// Sequence 0 answers no request: the host uses it where a bad frame's own sequence could not be
// read.
inline constexpr uint32_t kNoSequence = 0;

enum class MessageType : uint8_t {
  kHello = 1,            // guest → host, answered by kHelloReply
  kHelloReply = 2,       // host → guest
  kSnapshotRequest = 3,  // guest → host, answered by kSnapshotReply
  kSnapshotReply = 4,    // host → guest; also the negative answer to anything else
  kScenarioResult = 5,   // guest → host, answered by kSnapshotReply
  kLog = 6,              // guest → host, not answered
  kBye = 7,              // guest → host, not answered: nothing more will come
  kReady = 8,  // guest → host: set-up is done; answered by kGo when the host is ready too
  kGo = 9,     // host → guest
};

// The name the description of the feature uses.
inline constexpr MessageType MSG_TYPE_SNAPSHOT_REQUEST = MessageType::kSnapshotRequest;

enum class FieldTag : uint16_t {
  kProtocolVersion = 1,     // u32
  kScenario = 2,            // bytes
  kGuestTsc = 3,            // u64
  kGuestMonotonicNs = 4,    // u64
  kHoldMs = 5,              // u64
  kParameterKey = 6,        // bytes, repeated; a kParameterValue follows at once
  kParameterValue = 7,      // bytes
  kRequestKind = 8,         // u8: SnapshotRequestKind
  kSubject = 9,             // bytes: the tag of a capture, the symbol of a watch
  kMaxCaptures = 10,        // u64
  kMaxFrozenPermille = 11,  // u32
  kOk = 12,                 // u8: 0 or 1
  kReason = 13,             // bytes
  kStatusCode = 14,         // u32: absl::StatusCode
  kPassed = 15,             // u8: 0 or 1
  kDetail = 16,             // bytes, repeated
  kExitReason = 17,         // bytes
  kText = 18,               // bytes
  kWorker = 19,             // bytes, repeated: the fields of one WorkerReport
  kWorkerGroup = 20,        // bytes
  kWorkerKind = 21,         // bytes
  kWorkerIndex = 22,        // u32
  kIterations = 23,         // u64
  kWakeups = 24,            // u64
  kLatencySumNs = 25,       // u64
  kLatencyMaxNs = 26,       // u64
  kMigrations = 27,         // u64
  kLongestGapNs = 28,       // u64
  kVariable = 29,           // bytes, repeated: a kernel variable that captures take along
  kConditionKind = 30,      // u8: WatchCondition::Kind
  kConditionFirst = 31,     // u64
  kConditionSecond = 32,    // u64
  kEveryNth = 33,           // u64, from 1
  kMinIntervalUs = 34,      // u64
  kOnBudget = 35,           // u8: OnBudget
  kQueueFull = 36,          // u8: QueueFull
};

struct FrameHeader {
  uint8_t version = kWireVersion;
  uint8_t type = 0;  // a MessageType, or a value this side does not know
  uint16_t flags = 0;
  uint32_t sequence = kNoSequence;
  uint32_t payload_bytes = 0;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_WIRE_FORMAT_H_
