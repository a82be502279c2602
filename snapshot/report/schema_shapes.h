// The documented shape of a capture and of a summary, as data. Private to schema_check.
#ifndef WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_SHAPES_H_
#define WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_SHAPES_H_

#include <string_view>
#include <vector>

namespace watchsnap {

enum class ShapeKind {
  kAny,     // a value of the guest's, rendered by its type
  kBool,
  kUint,
  kInt,
  kHex,     // "0x…"
  kString,
  kName,    // a string; a number where the kernel has no name for it
  kArray,   // of `element`
  kObject,  // of `members`
  kByName,  // an object whose names are the user's or the kernel's, each an `element`
};

struct Shape;

struct MemberShape {
  std::string_view name;
  const Shape* shape;
  bool required = false;
  bool nullable = false;
};

struct Shape {
  ShapeKind kind = ShapeKind::kAny;
  std::vector<MemberShape> members = {};
  const Shape* element = nullptr;
  bool hex_names = false;  // kByName: the names are addresses
};

const Shape& CaptureShape();
const Shape& SummaryShape();

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_REPORT_SCHEMA_SHAPES_H_
