#include "snapshot/accessor/snapshot_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "snapshot/accessor/alternatives.h"
#include "snapshot/report/report_json.h"

namespace watchsnap {
namespace {

constexpr size_t kShownBytes = 80;
// Pointers followed on one path: a list that goes round ends here.
constexpr int kMostPointers = 64;

// As renderers name values in `degraded`: without the "value" of variables and objects, so that
// variables["x"].y stands for variables["x"].value.y.
Path AsDegradedSays(Path path) {
  if (path.empty()) return path;
  const PathStep value(std::string("value"));
  const bool object = path[0] == PathStep(std::string("objects"));
  if (!object && path[0] != PathStep(std::string("variables"))) return path;
  const size_t at = path.size() > 4 && path[2] == PathStep(std::string("per_cpu")) ? 4 : 2;
  if (path.size() > at && path[at] == value) path.erase(path.begin() + at);
  return path;
}

// `what` as the paths it may mean: renderers leave out "trigger.", and name two at once.
std::vector<Path> PathsOf(std::string_view what) {
  std::vector<Path> paths;
  for (const std::string_view part : absl::StrSplit(what, ", ")) {
    absl::StatusOr<Path> path = ParsePath(part);
    if (!path.ok() || path->empty()) continue;
    path = AsDegradedSays(*std::move(path));
    Path in_trigger = {std::string("trigger")};
    in_trigger.insert(in_trigger.end(), path->begin(), path->end());
    paths.push_back(*std::move(path));
    paths.push_back(std::move(in_trigger));
  }
  return paths;
}

bool IsPrefix(const Path& prefix, const Path& path) {
  return prefix.size() <= path.size() && std::equal(prefix.begin(), prefix.end(), path.begin());
}

std::string_view Text(std::optional<JsonNode> node) {
  return node.has_value() ? node->String().value_or("") : std::string_view();
}

}  // namespace

bool IsPointer(JsonNode node) {
  const auto text = node.String();
  return text.has_value() && absl::StartsWith(*text, "0x") && text->size() > 2 &&
         text->size() <= 18;
}

std::string Shown(JsonNode node) {
  if (node.is_object()) return absl::StrCat("an object of ", node.size(), " members");
  if (node.is_array()) return absl::StrCat("an array of ", node.size(), " elements");
  const std::string json = node.ToJson();
  return json.size() <= kShownBytes ? json : absl::StrCat(json.substr(0, kShownBytes), "…");
}

std::vector<std::string> MemberNames(JsonNode node) {
  std::vector<std::string> names;
  node.ForEachMember([&](std::string_view name, JsonNode) {
    names.emplace_back(name);
    return true;
  });
  return names;
}

void SnapshotSource::Load() const {
  absl::call_once(once_, [this] {
    if (report_.has_value()) {
      std::string text;
      AppendReportJson(*report_, text);
      document_ = JsonParser().Parse(text);
      report_.reset();
    }
    if (!document_->ok()) return;
    const JsonNode root = (**document_)->root();
    if (!Text(root.Member("tag")).empty()) {
      label_ = absl::StrCat(Text(root.Member("tag")), "#",
                            root.Member("seq").has_value() ? Shown(*root.Member("seq")) : "?");
    }
    const auto degraded = root.Member("degraded");
    if (!degraded.has_value()) return;
    degraded->ForEachItem([&](JsonNode item) {
      const std::string what(Text(item.Member("what")));
      degraded_.push_back({PathsOf(what), what, std::string(Text(item.Member("why")))});
      return true;
    });
  });
}

absl::StatusOr<Place> SnapshotSource::Root() const {
  Load();
  if (!document_->ok()) return document_->status();
  return Place{(**document_)->root(), "", ""};
}

absl::StatusOr<Place> SnapshotSource::Walk(Place start, const Path& path) const {
  Place at = std::move(start);
  int pointers = 0;
  for (const PathStep& step : path) {
    if (IsPointer(at.node)) {
      if (++pointers > kMostPointers) {
        return Error(absl::StatusCode::kOutOfRange,
                     absl::StrCat("more than ", kMostPointers, " pointers in one path"), at.home,
                     false);
      }
      absl::StatusOr<Place> pointee = Follow(at);
      if (!pointee.ok()) return pointee.status();
      at = *std::move(pointee);
    }
    absl::StatusOr<Place> next = std::holds_alternative<std::string>(step)
                                     ? Member(at, std::get<std::string>(step))
                                     : Element(at, std::get<uint64_t>(step));
    if (!next.ok()) return next.status();
    at = *std::move(next);
  }
  return at;
}

absl::StatusOr<Place> SnapshotSource::Member(const Place& at, const std::string& name) const {
  Place next = {at.node, MemberPath(at.asked, name), MemberPath(at.home, name)};
  if (const auto node = at.node.Member(name); node.has_value()) {
    next.node = *node;
    return next;
  }
  const std::string here = at.asked.empty() ? "the capture" : at.asked;
  std::string text;
  if (at.node.is_object()) {
    text = absl::StrCat(here, " has no member '", name, "'; ",
                        Alternatives(name, "its members are", MemberNames(at.node)));
  } else if (at.node.is_array()) {
    text = absl::StrCat(here, " is ", Shown(at.node), " and has no member '", name, "'");
    if (at.node.size() > 0) absl::StrAppend(&text, "; take one by [0] to [", at.node.size() - 1, "]");
  } else {
    text = absl::StrCat(here, " is ", Shown(at.node), " and has no member '", name, "'");
  }
  return Error(absl::StatusCode::kNotFound, text, next.home, true);
}

absl::StatusOr<Place> SnapshotSource::Element(const Place& at, uint64_t index) const {
  Place next = {at.node, ElementPath(at.asked, index), ElementPath(at.home, index)};
  if (const auto node = at.node.Item(index); node.has_value()) {
    next.node = *node;
    return next;
  }
  const std::string here = at.asked.empty() ? "the capture" : at.asked;
  std::string text = absl::StrCat(here, " is ", Shown(at.node), "; ");
  if (at.node.is_array()) {
    if (at.node.size() == 0) {
      absl::StrAppend(&text, "there is no [", index, "]");
    } else {
      absl::StrAppend(&text, "[", index, "] is past its last, [", at.node.size() - 1, "]");
    }
  } else if (at.node.is_object()) {
    absl::StrAppend(&text, "[", index, "] is for arrays; ",
                    Alternatives("", "its members are", MemberNames(at.node)));
  } else {
    absl::StrAppend(&text, "it has no elements");
  }
  return Error(absl::StatusCode::kOutOfRange, text, next.home, true);
}

absl::StatusOr<Place> SnapshotSource::Follow(const Place& at) const {
  const std::string_view address = *at.node.String();
  if (address.find_first_not_of('0', 2) == std::string_view::npos) {
    return Error(absl::StatusCode::kNotFound, absl::StrCat(at.asked, " is a null pointer"), at.home,
                 false);
  }
  const auto objects = (**document_)->root().Member("objects");
  const auto object = objects.has_value() ? objects->Member(address) : std::nullopt;
  const auto value = object.has_value() ? object->Member("value") : std::nullopt;
  if (value.has_value()) {
    return Place{*value, at.asked, MemberPath(MemberPath("objects", address), "value")};
  }
  return Error(absl::StatusCode::kDataLoss,
               absl::StrCat(at.asked, " is the pointer ", address,
                            ", whose pointee was not captured; captured are ",
                            objects.has_value() ? objects->size() : 0, " objects"),
               at.home, false);
}

std::optional<std::string> SnapshotSource::WhyDegraded(std::string_view home,
                                                       bool parts_too) const {
  absl::StatusOr<Path> path = ParsePath(home);
  if (!path.ok()) return std::nullopt;
  path = AsDegradedSays(*std::move(path));
  for (const Shortfall& shortfall : degraded_) {
    for (const Path& what : shortfall.whats) {
      if (IsPrefix(what, *path) || (parts_too && IsPrefix(*path, what))) {
        return absl::StrCat(shortfall.what, ": ", shortfall.why);
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> SnapshotSource::WhyDegradedExactly(std::string_view home) const {
  absl::StatusOr<Path> path = ParsePath(home);
  if (!path.ok()) return std::nullopt;
  path = AsDegradedSays(*std::move(path));
  for (const Shortfall& shortfall : degraded_) {
    for (const Path& what : shortfall.whats) {
      if (what == *path) return absl::StrCat(shortfall.what, ": ", shortfall.why);
    }
  }
  return std::nullopt;
}

std::optional<std::string> SnapshotSource::WhyMapsAreMissing() const {
  const auto maps = (**document_)->root().Member("maps");
  for (const Shortfall& shortfall : degraded_) {
    for (const Path& what : shortfall.whats) {
      if (what[0] != PathStep(std::string("maps"))) continue;
      const std::string* name = what.size() > 1 ? std::get_if<std::string>(&what[1]) : nullptr;
      const auto map = name != nullptr && maps.has_value() ? maps->Member(*name) : std::nullopt;
      const auto value = map.has_value() ? map->Member("value") : std::nullopt;
      const bool there = map.has_value() && (map->Member("entries").has_value() ||
                                             (value.has_value() && !value->is_null()));
      if (!there) return absl::StrCat(shortfall.what, ": ", shortfall.why);
    }
  }
  return std::nullopt;
}

absl::Status SnapshotSource::Labelled(absl::StatusCode code, std::string_view text) const {
  return absl::Status(code,
                      label_.empty() ? std::string(text) : absl::StrCat(label_, ": ", text));
}

absl::Status SnapshotSource::Error(absl::StatusCode code, std::string_view text,
                                   std::string_view home, bool missing) const {
  const auto why = WhyDegraded(home, missing);
  if (!why.has_value()) return Labelled(code, text);
  return Labelled(absl::StatusCode::kDataLoss,
                  absl::StrCat(text, "; the capture is degraded there: ", *why));
}

}  // namespace watchsnap
