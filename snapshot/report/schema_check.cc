#include "snapshot/report/schema_check.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "snapshot/report/report.h"
#include "snapshot/report/schema_shapes.h"
#include "snapshot/report/sidecar_file.h"

namespace watchsnap {
namespace {

constexpr size_t kShownBytes = 60;
constexpr size_t kMostErrors = 100;

std::string_view Wanted(ShapeKind kind) {
  switch (kind) {
    case ShapeKind::kAny: return "a value";
    case ShapeKind::kBool: return "true or false";
    case ShapeKind::kUint: return "an integer that is not negative";
    case ShapeKind::kInt: return "an integer";
    case ShapeKind::kHex: return "a \"0x…\" string of 64 bits";
    case ShapeKind::kString: return "a string";
    case ShapeKind::kName: return "a name or an integer";
    case ShapeKind::kArray: return "an array";
    case ShapeKind::kObject:
    case ShapeKind::kByName: return "an object";
  }
  return "?";
}

bool IsHex(std::string_view text) {
  return text.size() > 2 && text.size() <= 18 && text.substr(0, 2) == "0x" &&
         std::all_of(text.begin() + 2, text.end(),
                     [](unsigned char c) { return std::isxdigit(c) != 0; });
}

bool Fits(JsonNode node, ShapeKind kind) {
  const bool integer = node.kind() == JsonKind::kInteger;
  switch (kind) {
    case ShapeKind::kAny: return true;
    case ShapeKind::kBool: return node.Bool().has_value();
    case ShapeKind::kUint: return integer && node.Uint().has_value();
    case ShapeKind::kInt: return integer;
    case ShapeKind::kHex: return node.String().has_value() && IsHex(*node.String());
    case ShapeKind::kString: return node.String().has_value();
    case ShapeKind::kName: return integer || node.String().has_value();
    case ShapeKind::kArray: return node.is_array();
    case ShapeKind::kObject:
    case ShapeKind::kByName: return node.is_object();
  }
  return false;
}

std::string Shown(JsonNode node) {
  const std::string json = node.ToJson();
  return json.size() <= kShownBytes ? json : absl::StrCat(json.substr(0, kShownBytes), "…");
}

std::string Below(std::string_view path, std::string_view name) {
  return absl::StrCat(path, path.empty() ? "" : ".", name);
}

class Checker {
 public:
  void Check(JsonNode node, const Shape& shape, const std::string& path, const std::string& known) {
    if (!Fits(node, shape.kind)) {
      return Error(path, absl::StrCat("expected ", Wanted(shape.kind), ", found ", Shown(node)));
    }
    if (shape.kind == ShapeKind::kObject) Members(node, shape, path, known);
    if (shape.kind == ShapeKind::kArray) {
      size_t index = 0;
      node.ForEachItem([&](JsonNode item) {
        Check(item, *shape.element, absl::StrCat(path, "[", index++, "]"),
              absl::StrCat(known, "[]"));
        return true;
      });
    }
    if (shape.kind == ShapeKind::kByName) {
      node.ForEachMember([&](std::string_view name, JsonNode value) {
        const std::string at = absl::StrCat(path, "[\"", name, "\"]");
        if (shape.hex_names && !IsHex(name)) Error(at, "its name is no \"0x…\" address");
        findings_.seen.insert(Below(known, "*"));
        Check(value, *shape.element, at, Below(known, "*"));
        return true;
      });
    }
  }

  void Error(std::string_view path, std::string_view text) {
    if (findings_.errors.size() < kMostErrors) {
      findings_.errors.push_back(absl::StrCat(path.empty() ? "the document" : path, ": ", text));
    }
  }

  SchemaFindings Take() { return std::move(findings_); }

 private:
  void Members(JsonNode node, const Shape& shape, const std::string& path,
               const std::string& known) {
    for (const MemberShape& member : shape.members) {
      if (member.required && !node.Member(member.name).has_value()) {
        Error(path, absl::StrCat("it has no ", member.name));
      }
    }
    node.ForEachMember([&](std::string_view name, JsonNode value) {
      const auto member = std::find_if(shape.members.begin(), shape.members.end(),
                                       [&](const MemberShape& one) { return one.name == name; });
      if (member == shape.members.end()) {
        findings_.unknown.push_back(Below(path, name));
        return true;
      }
      findings_.seen.insert(Below(known, name));
      if (value.is_null() && member->nullable) return true;
      Check(value, *member->shape, Below(path, name), Below(known, name));
      return true;
    });
  }

  SchemaFindings findings_;
};

// What holds beyond the shapes.
void CheckCapture(JsonNode root, Checker& checker) {
  const auto trigger = root.Member("trigger");
  const auto kind = trigger.has_value() ? trigger->Member("kind") : std::nullopt;
  if (kind.has_value() && kind->String().has_value() && !ParseTriggerKind(*kind->String()).ok()) {
    checker.Error("trigger.kind", ParseTriggerKind(*kind->String()).status().message());
  }
  const auto either = [&](std::string_view part, std::string_view one, std::string_view other) {
    const auto node = root.Member(part);
    if (!node.has_value()) return;
    node->ForEachMember([&](std::string_view name, JsonNode value) {
      if (value.Member(one).has_value() && value.Member(other).has_value()) {
        checker.Error(absl::StrCat(part, "[\"", name, "\"]"),
                      absl::StrCat("it has both ", one, " and ", other));
      }
      return true;
    });
  };
  either("maps", "value", "entries");
  either("variables", "value", "per_cpu");
}

void CheckSummary(JsonNode root, Checker& checker) {
  const auto summary = root.Member("summary");
  if (!summary.has_value()) return;
  const auto count = [&](std::string_view name) {
    const auto member = summary->Member(name);
    return member.has_value() ? member->Uint().value_or(0) : 0;
  };
  const uint64_t fates = count("captured") + count("coalesced") + count("suppressed") + count("lost");
  if (count("hits") != fates) {
    checker.Error("summary", absl::StrCat(count("hits"), " hits, but ", fates,
                                          " captured, coalesced, suppressed and lost"));
  }
}

void Collect(const Shape& shape, const std::string& known, std::set<std::string>& all) {
  for (const MemberShape& member : shape.members) {
    all.insert(Below(known, member.name));
    Collect(*member.shape, Below(known, member.name), all);
  }
  if (shape.element == nullptr) return;
  const std::string below = shape.kind == ShapeKind::kArray ? absl::StrCat(known, "[]")
                                                            : Below(known, "*");
  if (shape.kind == ShapeKind::kByName) all.insert(below);
  Collect(*shape.element, below, all);
}

}  // namespace

SchemaFindings CheckSchema(JsonNode root) {
  Checker checker;
  const auto schema = root.Member("schema");
  const std::string_view name =
      schema.has_value() ? schema->String().value_or("") : std::string_view();
  if (name == kCaptureSchema) {
    checker.Check(root, CaptureShape(), "", "");
    CheckCapture(root, checker);
  } else if (name == kSummarySchema) {
    checker.Check(root, SummaryShape(), "", "");
    CheckSummary(root, checker);
  } else {
    checker.Error("schema", absl::StrCat("expected ", kCaptureSchema, " or ", kSummarySchema,
                                         ", found ", schema.has_value() ? Shown(*schema) : "none"));
  }
  return checker.Take();
}

absl::Status CheckFileSchema(const std::string& path) {
  absl::StatusOr<SidecarFile> file = SidecarFile::Open(path);
  if (!file.ok()) return file.status();
  absl::Status first;
  const auto check = [&](std::string_view what, JsonNode root) {
    const SchemaFindings findings = CheckSchema(root);
    if (findings.errors.empty()) return true;
    first = absl::InvalidArgumentError(absl::StrCat(path, ": ", what, ": ",
                                                    absl::StrJoin(findings.errors, "; ")));
    return false;
  };
  absl::Status read = file->ForEach([&](size_t i, SidecarFile::DocumentOr document) {
    if (!document.ok()) {
      first = document.status();
      return false;
    }
    return check(absl::StrCat("captures[", i, "]"), (*document)->root());
  });
  if (!read.ok()) return read;
  return first;
}

std::set<std::string> KnownMembers() {
  std::set<std::string> all;
  Collect(CaptureShape(), "", all);
  return all;
}

}  // namespace watchsnap
