#include "debug/types/type_graph_builder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace watchsnap {
namespace {

constexpr size_t kChunk = 256 * 1024;  // bytes of the arena taken at once

}  // namespace

TypeGraphBuilder::TypeGraphBuilder(std::string origin, std::shared_ptr<const TypeGraph> base)
    : graph_(new TypeGraph()) {
  graph_->origin_ = std::move(origin);
  if (base != nullptr) {
    graph_->first_own_ = base->size();
    graph_->base_ = std::move(base);
  } else {
    graph_->types_.emplace_back();  // void
  }
}

TypeId TypeGraphBuilder::Add(const Type& type) {
  const TypeId id = graph_->size();
  graph_->types_.push_back(type);
  return id;
}

Type& TypeGraphBuilder::at(TypeId id) {
  CHECK_GE(id, graph_->first_own_);
  CHECK_LT(id, graph_->size());
  return graph_->types_[id - graph_->first_own_];
}

void* TypeGraphBuilder::Allocate(size_t bytes) {
  bytes = (bytes + 7) / 8 * 8;
  if (bytes > free_bytes_) {
    const size_t chunk = std::max(bytes, kChunk);
    graph_->arena_.emplace_back(new char[chunk]);
    free_ = graph_->arena_.back().get();
    free_bytes_ = chunk;
  }
  void* result = free_;
  free_ += bytes;
  free_bytes_ -= bytes;
  return result;
}

const char* TypeGraphBuilder::Intern(std::string_view name) {
  if (name.empty()) return nullptr;
  char* copy = static_cast<char*>(Allocate(name.size() + 1));
  memcpy(copy, name.data(), name.size());
  copy[name.size()] = '\0';
  return copy;
}

void TypeGraphBuilder::KeepAlive(std::shared_ptr<const void> owner) {
  if (owner != nullptr) graph_->owners_.push_back(std::move(owner));
}

absl::StatusOr<std::shared_ptr<const TypeGraph>> TypeGraphBuilder::Build() && {
  const TypeId count = graph_->size();
  const auto missing = [&](TypeId from, TypeId to) {
    const Type& type = graph_->type(from);
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: type %d (%s '%.64s') refers to type %d, and there are %d", graph_->origin_, from,
        TypeKindName(type.kind), type.name(), to, count));
  };
  for (TypeId id = graph_->first_own_; id < count; ++id) {
    const Type& type = graph_->types_[id - graph_->first_own_];
    if (type.target >= count) return missing(id, type.target);
    for (const Member& member : type.members()) {
      if (member.type >= count) return missing(id, member.type);
    }
    for (const Parameter& parameter : type.parameters()) {
      if (parameter.type >= count) return missing(id, parameter.type);
    }
    for (const SectionVariable& variable : type.variables()) {
      if (variable.variable >= count) return missing(id, variable.variable);
    }
  }
  return std::shared_ptr<const TypeGraph>(std::move(graph_));
}

}  // namespace watchsnap
