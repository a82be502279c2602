#include "debug/types/type_graph.h"

#include <algorithm>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "debug/symbols/resemblance.h"

namespace watchsnap {
namespace {

constexpr size_t kOffered = 5;           // names in a message
constexpr size_t kMaxDescription = 200;  // bytes of a type's name, roughly

bool IsTransparent(TypeKind kind) {
  switch (kind) {
    case TypeKind::kTypedef:
    case TypeKind::kConst:
    case TypeKind::kVolatile:
    case TypeKind::kRestrict:
    case TypeKind::kTypeTag:
    case TypeKind::kVariable:
      return true;
    default:
      return false;
  }
}

void AppendDescription(const TypeGraph& graph, TypeId id, int depth, std::string& out) {
  if (depth > 12 || out.size() > kMaxDescription) {
    out += "…";
    return;
  }
  const Type& type = graph.type(id);
  const std::string_view name = type.name();
  const auto target = [&] { AppendDescription(graph, type.target, depth + 1, out); };
  switch (type.kind) {
    case TypeKind::kVoid:
      out += "void";
      return;
    case TypeKind::kInt:
    case TypeKind::kFloat:
    case TypeKind::kTypedef:
      absl::StrAppend(&out, name.empty() ? TypeKindName(type.kind) : name.substr(0, 100));
      return;
    case TypeKind::kStruct:
    case TypeKind::kUnion:
    case TypeKind::kEnum:
    case TypeKind::kDataSection:
      absl::StrAppend(&out, TypeKindName(type.kind), " ",
                      name.empty() ? "(anonymous)" : name.substr(0, 100));
      return;
    case TypeKind::kForward:
      absl::StrAppend(&out, type.is_union ? "union " : "struct ", name.substr(0, 100));
      return;
    case TypeKind::kConst:
    case TypeKind::kVolatile:
    case TypeKind::kRestrict:
      // "const char", but "char *const": on a pointer, C has it on the right.
      if (graph.type(type.target).kind == TypeKind::kPointer) {
        target();
        absl::StrAppend(&out, TypeKindName(type.kind));
      } else {
        absl::StrAppend(&out, TypeKindName(type.kind), " ");
        target();
      }
      return;
    case TypeKind::kPointer: {
      const Type& pointee = graph.type(type.target);
      if (pointee.kind == TypeKind::kFunctionProto) {
        AppendDescription(graph, pointee.target, depth + 1, out);
        out += " (*)(";
        const char* separator = "";
        for (const Parameter& parameter : pointee.parameters()) {
          if (out.size() > kMaxDescription) break;
          out += separator;
          separator = ", ";
          if (parameter.type == kVoidType) {
            out += "...";
          } else {
            AppendDescription(graph, parameter.type, depth + 1, out);
          }
        }
        out += ")";
        return;
      }
      target();
      out += absl::EndsWith(out, "*") ? "*" : " *";
      return;
    }
    case TypeKind::kArray: {
      // The outermost dimension first, as in the declaration.
      std::string dimensions;
      TypeId element = id;
      for (int i = 0; i < 8 && graph.type(element).kind == TypeKind::kArray; ++i) {
        const Type& array = graph.type(element);
        absl::StrAppend(&dimensions, "[",
                        array.count() == 0 ? "" : absl::StrCat(array.count()), "]");
        element = array.target;
      }
      AppendDescription(graph, element, depth + 1, out);
      absl::StrAppend(&out, " ", dimensions);
      return;
    }
    case TypeKind::kTypeTag:
    case TypeKind::kVariable:
      target();
      return;
    case TypeKind::kFunctionProto:
    case TypeKind::kFunction:
    case TypeKind::kDeclTag:
      absl::StrAppend(&out, TypeKindName(type.kind), name.empty() ? "" : " ", name.substr(0, 100));
      return;
  }
}

}  // namespace

std::string_view TypeKindName(TypeKind kind) {
  switch (kind) {
    case TypeKind::kVoid: return "void";
    case TypeKind::kInt: return "int";
    case TypeKind::kFloat: return "float";
    case TypeKind::kPointer: return "pointer";
    case TypeKind::kArray: return "array";
    case TypeKind::kStruct: return "struct";
    case TypeKind::kUnion: return "union";
    case TypeKind::kEnum: return "enum";
    case TypeKind::kForward: return "forward";
    case TypeKind::kTypedef: return "typedef";
    case TypeKind::kConst: return "const";
    case TypeKind::kVolatile: return "volatile";
    case TypeKind::kRestrict: return "restrict";
    case TypeKind::kFunctionProto: return "function prototype";
    case TypeKind::kFunction: return "function";
    case TypeKind::kVariable: return "variable";
    case TypeKind::kDataSection: return "data section";
    case TypeKind::kDeclTag: return "declaration tag";
    case TypeKind::kTypeTag: return "type tag";
  }
  return "?";
}

absl::Status TypeGraph::CheckReferences(TypeId first, absl::Span<const Type> types) const {
  const TypeId count = size();
  for (size_t i = 0; i < types.size(); ++i) {
    const Type& type = types[i];
    TypeId furthest = type.target;
    for (const Member& member : type.members()) furthest = std::max(furthest, member.type);
    for (const Parameter& parameter : type.parameters()) furthest = std::max(furthest, parameter.type);
    for (const SectionVariable& variable : type.variables()) {
      furthest = std::max(furthest, variable.variable);
    }
    if (furthest < count) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: type %d (%s '%.64s') refers to type %d, and there are %d", origin_, first + i,
        TypeKindName(type.kind), type.name(), furthest, count));
  }
  return absl::OkStatus();
}

const Type* TypeGraph::DecodeBlock(TypeId block) const {
  absl::MutexLock lock(&decoding_);
  if (const Type* done = blocks_[block].load(std::memory_order_relaxed)) return done;
  const TypeId first = block * kBlock;
  const absl::Span<Type> types = arena_.New<Type>(std::min(kBlock, own_ - first));
  absl::Status status = source_->Decode(first, types, arena_);
  if (status.ok()) status = CheckReferences(first_own_ + first, types);
  if (!status.ok()) {
    LOG(ERROR) << origin_ << " has changed since it was opened, types from "
               << first_own_ + first << " on are lost: " << status;
    std::fill(types.begin(), types.end(), Type());
  }
  blocks_[block].store(types.data(), std::memory_order_release);
  return types.data();
}

const TypeGraph::NameIndex& TypeGraph::IndexOf(TypeKind kind) const {
  NameIndex& index = indexes_[static_cast<size_t>(kind)];
  absl::call_once(index.once, [&] {
    const auto add = [&](TypeId own, TypeKind of, std::string_view name) {
      if (of == kind && !name.empty()) index.sorted.emplace_back(name, first_own_ + own);
    };
    if (source_ != nullptr) {
      source_->ForEachName(add);
    } else {
      for (TypeId i = 0; i < own_; ++i) add(i, types_[i].kind, types_[i].name());
    }
    std::sort(index.sorted.begin(), index.sorted.end());
    index.sorted.shrink_to_fit();
  });
  return index;
}

std::vector<TypeId> TypeGraph::FindAll(TypeKind kind, std::string_view name) const {
  std::vector<TypeId> ids;
  for (const TypeGraph* graph = this; graph != nullptr; graph = graph->base_.get()) {
    const auto& sorted = graph->IndexOf(kind).sorted;
    const std::pair<std::string_view, TypeId> from(name, 0);
    for (auto it = std::lower_bound(sorted.begin(), sorted.end(), from);
         it != sorted.end() && it->first == name; ++it) {
      ids.push_back(it->second);
    }
  }
  return ids;
}

bool TypeGraph::SameLayout(TypeId a, TypeId b) const {
  const Type& one = type(a);
  const Type& other = type(b);
  if (one.size != other.size || one.target != other.target ||
      one.details_count != other.details_count || one.encoding != other.encoding || one.is_signed != other.is_signed) {
    return false;
  }
  const auto same = [](const Member& x, const Member& y) {
    return x.name() == y.name() && x.bit_offset == y.bit_offset &&
           x.bitfield_size == y.bitfield_size;
  };
  const auto same_value = [](const Enumerator& x, const Enumerator& y) {
    return x.name() == y.name() && x.value == y.value;
  };
  return std::equal(one.members().begin(), one.members().end(), other.members().begin(),
                    other.members().end(), same) &&
         std::equal(one.enumerators().begin(), one.enumerators().end(),
                    other.enumerators().begin(), other.enumerators().end(), same_value);
}

// Ok(kVoidType) where there is none.
absl::StatusOr<TypeId> TypeGraph::OneOf(TypeKind kind, std::string_view name) const {
  const std::vector<TypeId> ids = FindAll(kind, name);
  if (ids.empty()) return kVoidType;
  for (const TypeId id : ids) {
    if (SameLayout(ids.front(), id)) continue;
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s %s is ambiguous in %s: %d types have that name (ids %s); say which by its id",
        TypeKindName(kind), name, origin_, ids.size(),
        absl::StrJoin(ids.begin(), ids.begin() + std::min(ids.size(), kOffered), ", ")));
  }
  return ids.front();
}

void TypeGraph::AppendResembling(TypeKind kind, std::string_view name, size_t limit,
                                 std::vector<std::string>& out) const {
  std::vector<std::pair<size_t, std::string_view>> found;
  for (const TypeGraph* graph = this; graph != nullptr; graph = graph->base_.get()) {
    for (const auto& [candidate, id] : graph->IndexOf(kind).sorted) {
      const size_t distance = EditDistance(name, candidate, limit);
      if (distance <= limit) found.emplace_back(distance, candidate);
    }
  }
  std::sort(found.begin(), found.end());
  for (const auto& [distance, candidate] : found) {
    if (out.size() >= kOffered) return;
    std::string text = kind == TypeKind::kStruct || kind == TypeKind::kUnion ||
                               kind == TypeKind::kEnum || kind == TypeKind::kVariable
                           ? absl::StrCat(TypeKindName(kind), " ", candidate)
                           : std::string(candidate);
    if (out.empty() || out.back() != text) out.push_back(std::move(text));
  }
}

absl::StatusOr<TypeId> TypeGraph::Find(TypeKind kind, std::string_view name) const {
  const auto found = OneOf(kind, name);
  if (!found.ok() || *found != kVoidType) return found;
  if ((kind == TypeKind::kStruct || kind == TypeKind::kUnion) &&
      !FindAll(TypeKind::kForward, name).empty()) {
    return absl::NotFoundError(absl::StrCat(TypeKindName(kind), " ", name,
                                            " is only declared in ", origin_,
                                            ", nothing there says what is in it"));
  }
  std::vector<std::string> names;
  AppendResembling(kind, name, std::clamp<size_t>(name.size() / 4, 1, 3), names);
  return absl::NotFoundError(
      absl::StrCat("no ", TypeKindName(kind), " '", name.substr(0, 200), "' in ", origin_,
                   names.empty() ? "" : "; did you mean ", absl::StrJoin(names, ", "),
                   names.empty() ? "" : "?"));
}

absl::StatusOr<TypeId> TypeGraph::Find(std::string_view c_name) const {
  if (c_name == "void") return kVoidType;
  std::string_view rest = c_name;
  if (absl::ConsumePrefix(&rest, "struct ")) return Find(TypeKind::kStruct, rest);
  if (absl::ConsumePrefix(&rest, "union ")) return Find(TypeKind::kUnion, rest);
  if (absl::ConsumePrefix(&rest, "enum ")) return Find(TypeKind::kEnum, rest);
  constexpr TypeKind kOrder[] = {TypeKind::kTypedef, TypeKind::kInt,   TypeKind::kFloat,
                                 TypeKind::kStruct,  TypeKind::kUnion, TypeKind::kEnum};
  for (const TypeKind kind : kOrder) {
    const auto found = OneOf(kind, c_name);
    if (!found.ok() || *found != kVoidType) return found;
  }
  std::vector<std::string> names;
  const size_t limit = std::clamp<size_t>(c_name.size() / 4, 1, 3);
  for (const TypeKind kind : kOrder) AppendResembling(kind, c_name, limit, names);
  return absl::NotFoundError(
      absl::StrCat("no type '", c_name.substr(0, 200), "' in ", origin_,
                   names.empty() ? "" : "; did you mean ", absl::StrJoin(names, ", "),
                   names.empty() ? "" : "?"));
}

absl::StatusOr<TypeId> TypeGraph::Resolve(TypeId id) const {
  TypeId current = id;
  for (int i = 0; i < kMaxChain; ++i) {
    const Type& at = type(current);
    if (!IsTransparent(at.kind)) return current;
    current = at.target;
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("type %d of %s is a chain of more than %d typedefs and qualifiers: its type "
                      "information is damaged",
                      id, origin_, kMaxChain));
}

absl::StatusOr<uint64_t> TypeGraph::SizeOf(TypeId id) const {
  uint64_t count = 1;
  TypeId current = id;
  for (int i = 0; i < kMaxChain; ++i) {
    auto resolved = Resolve(current);
    if (!resolved.ok()) return resolved.status();
    const Type& at = type(*resolved);
    switch (at.kind) {
      case TypeKind::kArray:
        if (__builtin_mul_overflow(count, at.count(), &count)) {
          return absl::FailedPreconditionError(
              absl::StrFormat("type %d of %s is an array of more bytes than there are", id,
                              origin_));
        }
        current = at.target;
        continue;
      case TypeKind::kInt:
      case TypeKind::kFloat:
      case TypeKind::kPointer:
      case TypeKind::kStruct:
      case TypeKind::kUnion:
      case TypeKind::kEnum:
      case TypeKind::kDataSection:
        if (__builtin_mul_overflow(count, at.size, &count) || count > UINT64_MAX / 8) {
          return absl::FailedPreconditionError(
              absl::StrFormat("type %d of %s is an array of more bytes than there are", id,
                              origin_));
        }
        return count;
      default:
        return absl::FailedPreconditionError(
            absl::StrFormat("type %d of %s has no size: it is %s", id, origin_,
                            Describe(*resolved)));
    }
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("type %d of %s is an array nested more than %d deep", id, origin_,
                      kMaxChain));
}

std::string TypeGraph::Describe(TypeId id) const {
  std::string out;
  AppendDescription(*this, id, 0, out);
  return out;
}

}  // namespace watchsnap
