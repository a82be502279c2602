#include "snapshot/accessor/snapshot_map.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "snapshot/accessor/alternatives.h"
#include "snapshot/accessor/path.h"
#include "snapshot/accessor/snapshot_source.h"

namespace watchsnap {
namespace {

std::string KeyText(const SnapshotEntry& entry) {
  return entry.Key().ok() ? Shown(entry.Key().node()) : std::string("?");
}

}  // namespace

SnapshotMap::SnapshotMap(absl::Status error) : map_(std::move(error)) {}

SnapshotMap::SnapshotMap(std::string name, SnapshotValue map)
    : name_(std::move(name)), map_(std::move(map)) {
  auto entries = std::make_shared<std::vector<SnapshotEntry>>();
  const auto part = [this](JsonNode node, std::string_view of, std::string_view member,
                           SnapshotValue::PerCpu per_cpu = SnapshotValue::PerCpu::kNo) {
    const std::string suffix = MemberPath(of, member);
    return SnapshotValue(map_.source_,
                         Place{node, absl::StrCat(map_.asked_, ".", suffix),
                               absl::StrCat(map_.home_, ".", suffix)},
                         per_cpu);
  };
  const JsonNode node = map_.node();
  const auto type = node.Member("type");
  by_index_ = type.has_value() && absl::EndsWith(type->String().value_or(""), "array");
  if (const auto value = node.Member("value"); value.has_value()) {
    section_ = true;
    entries->push_back(SnapshotEntry(SnapshotValue(Error(
                           absl::StatusCode::kNotFound, "a global section has no keys")),
                       part(*value, "", "value")));
  } else if (const auto list = node.Member("entries"); list.has_value()) {
    list->ForEachItem([&](JsonNode entry) {
      const std::string at = ElementPath("entries", entries->size());
      const auto get = [&](std::string_view member, SnapshotValue::PerCpu per_cpu) {
        const auto found = entry.Member(member);
        if (found.has_value()) return part(*found, at, member, per_cpu);
        return SnapshotValue(map_.source_->Error(
            absl::StatusCode::kNotFound, absl::StrCat(map_.asked_, ".", at, " has no ", member),
            absl::StrCat(map_.home_, ".", MemberPath(at, member)), true));
      };
      const bool per_cpu = entry.Member("values").has_value();
      entries->push_back(SnapshotEntry(
          get("key", SnapshotValue::PerCpu::kNo),
          per_cpu ? get("values", SnapshotValue::PerCpu::kValues)
                  : get("value", SnapshotValue::PerCpu::kNo)));
      return true;
    });
    const auto total = node.Member("entries_total");
    const uint64_t in_kernel = total.has_value() ? total->Uint().value_or(0) : 0;
    const auto why = map_.source_->WhyDegraded(MemberPath(map_.home_, "entries"), false);
    // Where the kernel's count is known, it decides; other things may be degraded there too.
    if (total.has_value() ? in_kernel > entries->size() : why.has_value()) {
      incomplete_ = absl::StrCat("truncated: ", entries->size(), " of ",
                                 total.has_value() ? absl::StrCat(in_kernel) : "more",
                                 " entries were captured");
      if (why.has_value()) absl::StrAppend(&incomplete_, " (", *why, ")");
    }
  } else {
    map_.status_ = map_.source_->Error(
        absl::StatusCode::kNotFound,
        absl::StrCat(map_.asked_, " has neither a value nor entries; ",
                     Alternatives("", "its members are", MemberNames(node))),
        map_.home_, true);
  }
  entries_ = std::move(entries);
}

SnapshotEntry SnapshotMap::At(uint64_t index) const {
  if (!ok()) return SnapshotEntry(status());
  if (!by_index_ || section_) {
    if (index < entries_->size()) return (*entries_)[index];
  } else if (index < entries_->size() && (*entries_)[index].Key().ok() &&
             (*entries_)[index].Key().node().Uint() == index) {
    return (*entries_)[index];
  } else {
    for (const SnapshotEntry& entry : *entries_) {
      if (entry.Key().ok() && entry.Key().node().Uint() == index) return entry;
    }
  }
  const std::string question = absl::StrCat("Map(\"", name_, "\").At(", index, ")");
  if (absl::Status status = Whole(question, ""); !status.ok()) return SnapshotEntry(status);
  return SnapshotEntry(Error(
      absl::StatusCode::kOutOfRange,
      entries_->empty()
          ? absl::StrCat(question, ": the map has no entries")
          : absl::StrCat(question, ": the map has ", entries_->size(), " entries, At(0) to At(",
                         entries_->size() - 1, ")")));
}

SnapshotEntry SnapshotMap::Find(const EntryPredicate& predicate) const {
  return FindKey(predicate, "");
}

SnapshotEntry SnapshotMap::Find(std::string_view key) const {
  return FindKey([key](const SnapshotEntry& entry) { return entry.Key().Is(key); },
                 absl::StrCat("\"", key, "\""));
}

SnapshotEntry SnapshotMap::FindKey(const EntryPredicate& predicate, std::string_view key) const {
  if (!ok()) return SnapshotEntry(status());
  std::string shortfall;
  for (const SnapshotEntry& entry : *entries_) {
    absl::StatusOr<bool> matches = Try(predicate, entry, shortfall);
    if (!matches.ok()) return SnapshotEntry(matches.status());
    if (*matches) return entry;
  }
  const std::string question =
      absl::StrCat("Map(\"", name_, "\").Find(", key.empty() ? "predicate" : key, ")");
  if (!incomplete_.empty() || !shortfall.empty()) {
    return SnapshotEntry(Error(
        absl::StatusCode::kDataLoss,
        absl::StrCat(question, ": no match in what was captured; ", incomplete_,
                     incomplete_.empty() || shortfall.empty() ? "" : "; ", shortfall)));
  }
  std::vector<std::string> keys;
  for (const SnapshotEntry& entry : *entries_) keys.push_back(KeyText(entry));
  return SnapshotEntry(
      Error(absl::StatusCode::kNotFound,
            absl::StrCat(question, ": none of ", entries_->size(), " entries matches; ",
                         Alternatives(key, "their keys are", keys))));
}

SnapshotMap SnapshotMap::Filter(const EntryPredicate& predicate) const {
  if (!ok()) return *this;
  auto kept = std::make_shared<std::vector<SnapshotEntry>>();
  std::string shortfall;
  for (const SnapshotEntry& entry : *entries_) {
    absl::StatusOr<bool> matches = Try(predicate, entry, shortfall);
    if (!matches.ok()) return SnapshotMap(matches.status());
    if (*matches) kept->push_back(entry);
  }
  SnapshotMap result = *this;
  result.entries_ = std::move(kept);
  result.by_index_ = false;
  if (!shortfall.empty()) {
    absl::StrAppend(&result.incomplete_, result.incomplete_.empty() ? "" : "; ", shortfall);
  }
  return result;
}

SnapshotEntry SnapshotMap::MaxBy(std::string_view path) const {
  return MaxBy([path](const SnapshotEntry& entry) -> absl::StatusOr<long double> {
    const SnapshotValue value = entry.Get(path);
    if (!value.ok()) return value.status();
    if (absl::StatusOr<uint64_t> number = value.AsU64(); number.ok()) return *number;
    if (absl::StatusOr<int64_t> number = value.AsI64(); number.ok()) return *number;
    return value.AsF64();
  });
}

SnapshotEntry SnapshotMap::MaxBy(const EntryNumber& number) const {
  if (!ok()) return SnapshotEntry(status());
  const SnapshotEntry* best = nullptr;
  long double greatest = 0;
  std::string shortfall;
  for (const SnapshotEntry& entry : *entries_) {
    long double value = 0;
    absl::StatusOr<bool> counted = Try(
        [&](const SnapshotEntry& of) -> absl::StatusOr<bool> {
          absl::StatusOr<long double> its = number(of);
          if (!its.ok()) return its.status();
          value = *its;
          return true;
        },
        entry, shortfall);
    if (!counted.ok()) return SnapshotEntry(counted.status());
    if (*counted && (best == nullptr || value > greatest)) {
      best = &entry;
      greatest = value;
    }
  }
  const std::string question = absl::StrCat("Map(\"", name_, "\").MaxBy");
  if (absl::Status status = Whole(question, shortfall); !status.ok()) return SnapshotEntry(status);
  if (best != nullptr) return *best;
  return SnapshotEntry(Error(absl::StatusCode::kNotFound,
                             absl::StrCat(question, ": there are no entries to choose from")));
}

SnapshotMap SnapshotMap::Cpu(uint64_t cpu) const {
  if (!ok()) return *this;
  auto narrowed = std::make_shared<std::vector<SnapshotEntry>>();
  for (const SnapshotEntry& entry : *entries_) narrowed->push_back(entry.Cpu(cpu));
  SnapshotMap result = *this;
  result.entries_ = std::move(narrowed);
  return result;
}

SnapshotMap SnapshotMap::Captured() const {
  SnapshotMap result = *this;
  result.captured_ = true;
  return result;
}

SnapshotValue SnapshotMap::Get(std::string_view path) const {
  if (!ok()) return SnapshotValue(status());
  if (section_) return entries_->front().Get(path);
  return SnapshotValue(Error(
      absl::StatusCode::kInvalidArgument,
      absl::StrCat("Map(\"", name_, "\").Get(\"", path, "\"): the map is no global section, it has ",
                   entries_->size(), " entries; choose one by At, Find or MaxBy")));
}

SnapshotValue SnapshotMap::Attribute(std::string_view name) const {
  return map_.Get(MemberPath("", name));
}

absl::StatusOr<size_t> SnapshotMap::Count() const {
  if (!ok()) return status();
  absl::Status status = Whole(absl::StrCat("Map(\"", name_, "\").Count()"), "");
  if (!status.ok()) return status;
  return entries_->size();
}

absl::StatusOr<std::vector<SnapshotEntry>> SnapshotMap::Entries() const {
  if (!ok()) return status();
  absl::Status status = Whole(absl::StrCat("Map(\"", name_, "\").Entries()"), "");
  if (!status.ok()) return status;
  return *entries_;
}

absl::StatusOr<bool> SnapshotMap::Try(const EntryPredicate& predicate, const SnapshotEntry& entry,
                                      std::string& shortfall) const {
  absl::StatusOr<bool> result = predicate(entry);
  if (result.ok() || !IsDegraded(result.status())) return result;
  if (shortfall.empty()) {
    shortfall = absl::StrCat("an entry could not be read: ", result.status().message());
  }
  return false;
}

absl::Status SnapshotMap::Whole(std::string_view question, const std::string& shortfall) const {
  if (captured_ || (incomplete_.empty() && shortfall.empty())) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss,
               absl::StrCat(question, ": ", incomplete_,
                            incomplete_.empty() || shortfall.empty() ? "" : "; ", shortfall,
                            "; Captured() is content with what there is"));
}

absl::Status SnapshotMap::Error(absl::StatusCode code, std::string_view text) const {
  return map_.source_->Labelled(code, text);
}

}  // namespace watchsnap
