// The fields of a payload: a writer that appends them, a reader that walks them.
//
//   FieldWriter fields;
//   fields.U64(FieldTag::kGuestTsc, tsc).Bytes(FieldTag::kScenario, name);
//   EncodeFrame(type, sequence, fields.payload());
//
//   FieldReader reader(frame.payload);
//   while (reader.Next()) { switch (reader.tag()) … }
//   if (!reader.status().ok()) …   // a length that runs past the payload
//
// Threads: one at a time. Ownership: the writer owns its bytes; the reader and its views point into
// the payload.
#ifndef WATCHSNAP_SNAPSHOT_WIRE_FIELDS_H_
#define WATCHSNAP_SNAPSHOT_WIRE_FIELDS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "snapshot/wire/wire_format.h"

namespace watchsnap {

class FieldWriter {
 public:
  FieldWriter& U8(FieldTag tag, uint8_t value);
  FieldWriter& U32(FieldTag tag, uint32_t value);
  FieldWriter& U64(FieldTag tag, uint64_t value);
  FieldWriter& Bytes(FieldTag tag, std::string_view value);

  absl::Span<const uint8_t> payload() const {
    return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(payload_.data()), payload_.size());
  }

 private:
  std::string payload_;
};

class FieldReader {
 public:
  explicit FieldReader(absl::Span<const uint8_t> payload) : rest_(payload) {}

  // False at the end of the payload and at an error.
  bool Next();
  const absl::Status& status() const { return status_; }

  uint16_t tag() const { return tag_; }
  // The value of the current field in the shape asked for; INVALID_ARGUMENT if its length is
  // another.
  absl::StatusOr<uint8_t> U8() const;
  absl::StatusOr<uint32_t> U32() const;
  absl::StatusOr<uint64_t> U64() const;
  absl::StatusOr<bool> Bool() const;  // a u8 that is 0 or 1
  std::string_view Bytes() const;

 private:
  template <typename T>
  absl::StatusOr<T> Integer() const;

  absl::Span<const uint8_t> rest_;
  absl::Span<const uint8_t> value_;
  uint16_t tag_ = 0;
  absl::Status status_;
};

// For messages: "subject", or "field 77".
std::string FieldName(uint16_t tag);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_WIRE_FIELDS_H_
