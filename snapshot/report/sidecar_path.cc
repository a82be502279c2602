#include "snapshot/report/sidecar_path.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr size_t kMaxFileName = 255;  // NAME_MAX of linux/limits.h
constexpr size_t kMaxLongTestName = 100;
constexpr std::string_view kSuffix = ".snapshots.jsonl";
constexpr std::string_view kShortened = "%~";
constexpr size_t kHashDigits = 32;

// FNV-1a, 128 bits: prime and offset basis as published by Fowler, Noll and Vo.
std::string Fnv1a128(std::string_view bytes) {
  using Wide = unsigned __int128;
  constexpr Wide kPrime = (Wide{1} << 88) + 0x13B;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64) | 0x62b821756295c58d;
  for (const char c : bytes) {
    hash ^= static_cast<uint8_t>(c);
    hash *= kPrime;
  }
  return absl::StrFormat("%016x%016x", static_cast<uint64_t>(hash >> 64),
                         static_cast<uint64_t>(hash));
}

// The encoding of `name` in at most `limit` bytes.
std::string EncodeWithin(std::string_view name, size_t limit) {
  std::string encoded = EncodeForFileName(name);
  if (encoded.size() <= limit) return encoded;
  size_t kept = limit - kShortened.size() - kHashDigits;
  // Not within an escape.
  for (size_t back = 1; back <= 2; ++back) {
    if (encoded[kept - back] == '%') kept -= back;
  }
  return absl::StrCat(std::string_view(encoded).substr(0, kept), kShortened, Fnv1a128(name));
}

std::string InFolder(std::string_view dir, const std::string& file) {
  if (dir.empty()) return file;
  return absl::StrCat(dir, dir.ends_with('/') ? "" : "/", file);
}

}  // namespace

std::string EncodeForFileName(std::string_view name) {
  std::string encoded;
  encoded.reserve(name.size());
  for (const char c : name) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-') {
      encoded += c;
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<uint8_t>(c));
    }
  }
  return encoded;
}

std::string SidecarFileName(std::string_view test_name, std::string_view tag) {
  std::string whole =
      absl::StrCat(EncodeForFileName(test_name), ".", EncodeForFileName(tag), kSuffix);
  if (whole.size() <= kMaxFileName) return whole;
  const std::string test = EncodeWithin(test_name, kMaxLongTestName);
  const size_t left = kMaxFileName - kSuffix.size() - 1 - test.size();
  return absl::StrCat(test, ".", EncodeWithin(tag, left), kSuffix);
}

std::string SidecarPath(std::string_view dir, std::string_view test_name, std::string_view tag) {
  return InFolder(dir, SidecarFileName(test_name, tag));
}

std::string FailureDumpPath(std::string_view dir, std::string_view test_name, uint64_t n) {
  const std::string suffix =
      n <= 1 ? ".failure-dump.json" : absl::StrCat(".failure-dump.", n, ".json");
  return InFolder(dir, absl::StrCat(EncodeWithin(test_name, kMaxFileName - suffix.size()), suffix));
}

}  // namespace watchsnap
