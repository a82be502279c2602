#include "debug/types/type_graph_builder.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

namespace watchsnap {

TypeGraphBuilder::TypeGraphBuilder(std::string origin, std::shared_ptr<const TypeGraph> base)
    : graph_(new TypeGraph()) {
  graph_->origin_ = std::move(origin);
  if (base != nullptr) {
    graph_->first_own_ = base->size();
    graph_->base_ = std::move(base);
  } else {
    Add({});  // void
  }
}

TypeId TypeGraphBuilder::Add(const Type& type) {
  const TypeId id = graph_->size();
  graph_->types_.push_back(type);
  ++graph_->own_;
  return id;
}

Type& TypeGraphBuilder::at(TypeId id) {
  CHECK_GE(id, graph_->first_own_);
  CHECK_LT(id, graph_->size());
  return graph_->types_[id - graph_->first_own_];
}

void TypeGraphBuilder::KeepAlive(std::shared_ptr<const void> owner) {
  if (owner != nullptr) graph_->owners_.push_back(std::move(owner));
}

void TypeGraphBuilder::MakeBlocks() {
  const size_t blocks = (graph_->own_ + TypeGraph::kBlock - 1) / TypeGraph::kBlock;
  graph_->blocks_.reset(new std::atomic<const Type*>[blocks]());
}

absl::StatusOr<std::shared_ptr<const TypeGraph>> TypeGraphBuilder::Build() && {
  absl::Status status = graph_->CheckReferences(graph_->first_own_, graph_->types_);
  if (!status.ok()) return status;
  MakeBlocks();
  for (size_t i = 0; i < graph_->types_.size(); i += TypeGraph::kBlock) {
    graph_->blocks_[i / TypeGraph::kBlock].store(&graph_->types_[i]);
  }
  absl::MutexLock lock(&graph_->decoding_);
  graph_->arena_ = std::move(arena_);
  return std::shared_ptr<const TypeGraph>(std::move(graph_));
}

absl::StatusOr<std::shared_ptr<const TypeGraph>> TypeGraphBuilder::BuildFrom(
    std::unique_ptr<const TypeSource> source) && {
  graph_->types_.clear();
  graph_->own_ = source->count();
  Type types[TypeGraph::kBlock];
  TypeArena scratch;
  for (TypeId first = 0; first < graph_->own_; first += TypeGraph::kBlock) {
    const auto block =
        absl::MakeSpan(types).first(std::min(TypeGraph::kBlock, graph_->own_ - first));
    std::fill(block.begin(), block.end(), Type());
    scratch.Clear();
    absl::Status status = source->Decode(first, block, scratch);
    if (status.ok()) status = graph_->CheckReferences(graph_->first_own_ + first, block);
    if (!status.ok()) return status;
  }
  MakeBlocks();
  graph_->source_ = std::move(source);
  return std::shared_ptr<const TypeGraph>(std::move(graph_));
}

}  // namespace watchsnap
