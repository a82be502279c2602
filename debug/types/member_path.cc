#include "debug/types/member_path.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "debug/symbols/resemblance.h"

namespace watchsnap {
namespace {

constexpr int kMaxAnonymousDepth = 32;
constexpr int kMaxParts = 256;          // of a path
constexpr int kMaxMembers = 1'000'000;  // looked at for one name
constexpr int kMaxListed = 4096;        // names collected for a message

absl::Status TooDeep(const TypeGraph& graph) {
  return absl::ResourceExhaustedError(
      absl::StrCat(graph.origin(), " has anonymous members nested too deep or too many to look "
                                   "through: it is damaged"));
}

// Finds a name in a struct, and in the anonymous members of it.
class MemberSearch {
 public:
  MemberSearch(const TypeGraph& graph, std::string_view name) : graph_(graph), name_(name) {}

  absl::StatusOr<std::optional<MemberPlace>> In(const Type& aggregate, uint64_t bit, int depth) {
    if (depth > kMaxAnonymousDepth) return TooDeep(graph_);
    visited_ += static_cast<int>(aggregate.members().size());
    if (visited_ > kMaxMembers) return TooDeep(graph_);
    for (const Member& member : aggregate.members()) {
      if (!member.name().empty() && member.name() == name_) {
        auto place = PlaceOf(graph_, member, bit);
        if (!place.ok()) return place.status();
        return *place;
      }
    }
    for (const Member& member : aggregate.members()) {
      if (!member.name().empty()) continue;
      auto inner = graph_.Resolve(member.type);
      if (!inner.ok()) return inner.status();
      if (!graph_.type(*inner).IsStructOrUnion()) continue;
      auto found = In(graph_.type(*inner), bit + member.bit_offset, depth + 1);
      if (!found.ok() || found->has_value()) return found;
    }
    return std::nullopt;
  }

 private:
  const TypeGraph& graph_;
  const std::string_view name_;
  int visited_ = 0;
};

void CollectNames(const TypeGraph& graph, const Type& aggregate, int depth, int& visited,
                  std::vector<std::string_view>& names) {
  for (const SectionVariable& variable : aggregate.variables()) {
    names.push_back(graph.type(variable.variable).name());
  }
  for (const Member& member : aggregate.members()) {
    if (++visited > kMaxListed) return;
    if (!member.name().empty()) {
      names.push_back(member.name());
      continue;
    }
    const auto inner = graph.Resolve(member.type);
    if (inner.ok() && depth < kMaxAnonymousDepth) {
      CollectNames(graph, graph.type(*inner), depth + 1, visited, names);
    }
  }
}

absl::StatusOr<MemberPlace> NamedPart(const TypeGraph& graph, const MemberPlace& whole,
                                      TypeId resolved, std::string_view name) {
  const Type& type = graph.type(resolved);
  if (type.kind == TypeKind::kDataSection) {
    for (const SectionVariable& variable : type.variables()) {
      if (graph.type(variable.variable).name() != name) continue;
      auto place = WholePlace(graph, variable.variable);
      if (place.ok()) place->bit_offset = whole.bit_offset + uint64_t{variable.offset} * 8;
      return place;
    }
  } else if (type.IsStructOrUnion()) {
    auto found = MemberSearch(graph, name).In(type, whole.bit_offset, 0);
    if (!found.ok()) return found.status();
    if (found->has_value()) return **found;
  } else if (type.kind == TypeKind::kForward) {
    return absl::FailedPreconditionError(
        absl::StrFormat("'%s' cannot be found: %s is only declared in %s, nothing there says what "
                        "is in it",
                        name, graph.Describe(whole.type), graph.origin()));
  } else {
    return absl::InvalidArgumentError(
        absl::StrFormat("'%s' asks for a member of what has none, %s", name.substr(0, 200),
                        type.kind == TypeKind::kArray
                            ? absl::StrCat("an array (", graph.Describe(whole.type),
                                           "); an index comes first: [0].", name.substr(0, 200))
                            : absl::StrCat("a value of type ", graph.Describe(whole.type))));
  }
  const std::string members = ListMembers(graph, resolved, 24, name);
  return absl::NotFoundError(absl::StrCat(graph.Describe(whole.type), " has no member '",
                                          name.substr(0, 200), "'; it has ",
                                          members.empty() ? "none" : members));
}

absl::StatusOr<MemberPlace> IndexedPart(const TypeGraph& graph, const MemberPlace& whole,
                                        TypeId resolved, uint64_t index) {
  const Type& type = graph.type(resolved);
  if (type.kind != TypeKind::kArray) {
    return absl::InvalidArgumentError(absl::StrFormat("[%d] of what is not an array, but %s",
                                                      index, graph.Describe(whole.type)));
  }
  if (type.count() != 0 && index >= type.count()) {
    return absl::OutOfRangeError(absl::StrFormat("[%d] is outside %s: indexes are 0 to %d", index,
                                                 graph.Describe(whole.type), type.count() - 1));
  }
  return ElementPlace(graph, whole, index);
}

// Takes "[12]" or "name" off the front of `path`, and a "." that follows.
struct PathPart {
  std::string_view name;
  std::optional<uint64_t> index;
};
absl::StatusOr<PathPart> TakePart(std::string_view& path) {
  PathPart part;
  const auto malformed = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("at '", path.substr(0, 80), "': ", why,
                                                   "; a path looks like a.b[3].c"));
  };
  if (path.front() == '[') {
    const size_t close = path.find(']');
    if (close == path.npos) return malformed("the ']' is missing");
    const std::string_view digits = path.substr(1, close - 1);
    uint64_t index = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (digits.empty() || end.ec != std::errc() || end.ptr != digits.data() + digits.size()) {
      return malformed("an index is a decimal number");
    }
    part.index = index;
    path.remove_prefix(close + 1);
    if (path.empty() || path.front() == '[') return part;
    if (path.front() != '.') return malformed("'.' or '[' comes after an index");
  } else {
    const size_t end = std::min(path.find_first_of(".["), path.size());
    if (end == 0) return malformed("a name is missing");
    part.name = path.substr(0, end);
    path.remove_prefix(end);
    if (path.empty() || path.front() == '[') return part;
  }
  path.remove_prefix(1);
  if (path.empty() || path.front() == '[') return malformed("a name comes after '.'");
  return part;
}

}  // namespace

absl::StatusOr<MemberPlace> WholePlace(const TypeGraph& graph, TypeId type) {
  const auto size = graph.SizeOf(type);
  if (!size.ok()) return size.status();
  return MemberPlace{.bit_size = *size * 8, .type = type};
}

absl::StatusOr<MemberPlace> PlaceOf(const TypeGraph& graph, const Member& member,
                                    uint64_t struct_bit) {
  MemberPlace place = {.bit_offset = struct_bit + member.bit_offset, .type = member.type};
  if (member.bitfield_size != 0) {
    place.bit_size = member.bitfield_size;
    place.is_bitfield = true;
    return place;
  }
  const auto resolved = graph.Resolve(member.type);
  if (!resolved.ok()) return resolved.status();
  const Type& type = graph.type(*resolved);
  if (type.kind == TypeKind::kInt && (type.bits != type.size * 8 || type.bit_start != 0)) {
    // How bitfields were told before members had a size of their own; and a C23 _BitInt.
    place.bit_offset += type.bit_start;
    place.bit_size = type.bits;
    place.is_bitfield = true;
    return place;
  }
  const auto size = graph.SizeOf(*resolved);
  if (!size.ok()) return size.status();
  place.bit_size = *size * 8;
  return place;
}

absl::StatusOr<MemberPlace> ElementPlace(const TypeGraph& graph, const MemberPlace& array,
                                         uint64_t index) {
  const auto resolved = graph.Resolve(array.type);
  if (!resolved.ok()) return resolved.status();
  CHECK(graph.type(*resolved).kind == TypeKind::kArray) << graph.Describe(array.type);
  auto element = WholePlace(graph, graph.type(*resolved).target);
  if (!element.ok()) return element;
  uint64_t offset = 0;
  if (__builtin_mul_overflow(element->bit_size, index, &offset) ||
      __builtin_add_overflow(offset, array.bit_offset, &element->bit_offset)) {
    return absl::OutOfRangeError(absl::StrFormat("[%d] of %s is beyond all memory", index,
                                                 graph.Describe(array.type)));
  }
  return element;
}

absl::StatusOr<MemberStep> FindMemberToPointer(const TypeGraph& graph, TypeId root,
                                               std::string_view path) {
  auto whole = WholePlace(graph, root);
  if (!whole.ok()) return whole.status();
  MemberStep step = {.place = *whole, .rest = path};
  for (int parts = 0; !step.rest.empty(); ++parts) {
    if (parts == kMaxParts) {
      return absl::InvalidArgumentError(
          absl::StrFormat("a path of more than %d parts", kMaxParts));
    }
    const auto resolved = graph.Resolve(step.place.type);
    if (!resolved.ok()) return resolved.status();
    if (graph.type(*resolved).kind == TypeKind::kPointer) return step;
    const auto part = TakePart(step.rest);
    if (!part.ok()) return part.status();
    auto place = part->index.has_value()
                     ? IndexedPart(graph, step.place, *resolved, *part->index)
                     : NamedPart(graph, step.place, *resolved, part->name);
    if (!place.ok()) return place.status();
    step.place = *place;
  }
  return step;
}

absl::StatusOr<MemberPlace> FindMember(const TypeGraph& graph, TypeId root,
                                       std::string_view path) {
  const auto step = FindMemberToPointer(graph, root, path);
  if (!step.ok()) return step.status();
  if (!step->rest.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s' is behind a pointer (%s): what it points to is not part of this value",
        step->rest.substr(0, 200), graph.Describe(step->place.type)));
  }
  return step->place;
}

std::string ListMembers(const TypeGraph& graph, TypeId type, size_t limit,
                        std::string_view wanted) {
  const auto resolved = graph.Resolve(type);
  if (!resolved.ok()) return "";
  std::vector<std::string_view> names;
  int visited = 0;
  CollectNames(graph, graph.type(*resolved), 0, visited, names);
  if (!wanted.empty()) {
    const size_t nearby = std::clamp<size_t>(wanted.size() / 3, 1, 3);
    std::stable_partition(names.begin(), names.end(), [&](std::string_view name) {
      return EditDistance(wanted, name, nearby) <= nearby;
    });
  }
  const size_t shown = std::min(names.size(), limit);
  std::string out = absl::StrJoin(names.begin(), names.begin() + shown, ", ");
  if (names.size() > shown) absl::StrAppendFormat(&out, ", … (%d more)", names.size() - shown);
  return out;
}

}  // namespace watchsnap
