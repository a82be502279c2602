#include "snapshot/cli/capture_diff.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "snapshot/accessor/path.h"
#include "snapshot/cli/value_tree.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {
namespace {

constexpr size_t kShownBytes = 100;

// What an element of a list is known by, the first that all have.
constexpr std::array<std::string_view, 6> kIdentities = {"key", "index", "cpu", "pid", "id", "what"};

bool IsStack(std::string_view name) {
  return name == "stack" || name == "inlined" || name == "backtrace";
}

std::vector<JsonNode> Items(JsonNode array) {
  std::vector<JsonNode> items;
  array.ForEachItem([&](JsonNode item) {
    items.push_back(item);
    return true;
  });
  return items;
}

// Where every element of both lists has `member`, and no two of one list the same.
bool Identifies(std::string_view member, const std::vector<JsonNode>& items) {
  std::map<std::string, int> seen;
  return std::all_of(items.begin(), items.end(), [&](JsonNode item) {
    const auto its = item.Member(member);
    return its.has_value() && seen[its->ToJson()]++ == 0;
  });
}

std::optional<std::string> Delta(JsonNode a, JsonNode b) {
  const auto wide = [](JsonNode node) -> std::optional<__int128> {
    if (node.kind() != JsonKind::kInteger) return std::nullopt;
    if (const auto value = node.Uint(); value.has_value()) return *value;
    return *node.Int();
  };
  const auto before = wide(a);
  const auto after = wide(b);
  if (!before.has_value() || !after.has_value()) return std::nullopt;
  const __int128 delta = *after - *before;
  const __int128 size = delta < 0 ? -delta : delta;
  if (size > static_cast<__int128>(~0ull)) return std::nullopt;
  return absl::StrCat(delta < 0 ? "-" : "+", static_cast<uint64_t>(size));
}

class Differ {
 public:
  void Whole(JsonNode a, JsonNode b) {
    Members(a, b, [this](std::string_view name, std::optional<JsonNode> was,
                         std::optional<JsonNode> is) {
      if (name == "schema") return;
      group_ = name;
      const bool both = was.has_value() && is.has_value();
      if (both && (name == "maps" || name == "variables" || name == "objects")) {
        Members(*was, *is, [&](std::string_view inner, std::optional<JsonNode> before,
                               std::optional<JsonNode> after) {
          group_ = MemberPath(name, inner);
          Either(group_, inner, "", before, after);
        });
      } else {
        Either(std::string(name), name, "", was, is);
      }
    });
  }

  std::vector<Difference> Take() { return std::move(differences_); }

 private:
  template <typename Visit>
  static void Members(JsonNode a, JsonNode b, Visit visit) {
    a.ForEachMember([&](std::string_view name, JsonNode value) {
      visit(name, std::optional(value), b.Member(name));
      return true;
    });
    b.ForEachMember([&](std::string_view name, JsonNode value) {
      if (!a.Member(name).has_value()) visit(name, std::nullopt, std::optional(value));
      return true;
    });
  }

  void Either(const std::string& path, std::string_view name, const std::string& label,
              std::optional<JsonNode> a, std::optional<JsonNode> b) {
    if (a.has_value() && b.has_value()) return Both(path, name, label, *a, *b);
    differences_.push_back({group_, path, label, a, b, std::nullopt});
  }

  void Both(const std::string& path, std::string_view name, const std::string& label, JsonNode a,
            JsonNode b) {
    if (a.is_object() && b.is_object()) {
      return Members(a, b, [&](std::string_view inner, std::optional<JsonNode> was,
                               std::optional<JsonNode> is) {
        Either(MemberPath(path, inner), inner, label, was, is);
      });
    }
    if (a.is_array() && b.is_array() && !IsStack(name)) return Lists(path, label, a, b);
    if (a.ToJson() == b.ToJson()) return;
    differences_.push_back({group_, path, label, a, b, Delta(a, b)});
  }

  void Lists(const std::string& path, const std::string& label, JsonNode a, JsonNode b) {
    const std::vector<JsonNode> was = Items(a);
    const std::vector<JsonNode> is = Items(b);
    const auto identity =
        std::find_if(kIdentities.begin(), kIdentities.end(), [&](std::string_view member) {
          return Identifies(member, was) && Identifies(member, is);
        });
    if (identity == kIdentities.end() || (was.empty() && is.empty())) {
      for (size_t i = 0; i < std::max(was.size(), is.size()); ++i) {
        Element(path, i, label, i < was.size() ? std::optional(was[i]) : std::nullopt,
                i < is.size() ? std::optional(is[i]) : std::nullopt);
      }
      return;
    }
    std::map<std::string, size_t> places;
    for (size_t i = 0; i < is.size(); ++i) places[is[i].Member(*identity)->ToJson()] = i;
    const auto labelled = [&](JsonNode item) {
      if (*identity == "index") return label;  // the path says it
      return absl::StrCat(label, label.empty() ? "" : ", ", *identity, " ",
                          BareValue(*item.Member(*identity)));
    };
    for (size_t i = 0; i < was.size(); ++i) {
      const auto found = places.find(was[i].Member(*identity)->ToJson());
      if (found == places.end()) {
        Element(path, i, labelled(was[i]), was[i], std::nullopt);
      } else {
        Element(path, found->second, labelled(was[i]), was[i], is[found->second]);
        places.erase(found);
      }
    }
    for (size_t i = 0; i < is.size(); ++i) {
      const auto found = places.find(is[i].Member(*identity)->ToJson());
      if (found != places.end()) Element(path, i, labelled(is[i]), std::nullopt, is[i]);
    }
  }

  void Element(const std::string& path, size_t index, const std::string& label,
               std::optional<JsonNode> a, std::optional<JsonNode> b) {
    const std::string at = ElementPath(path, index);
    if (path == "vcpus") group_ = at;
    Either(at, "", label, a, b);
  }

  std::string group_;
  std::vector<Difference> differences_;
};

// On one line, and not for ever.
std::string Short(JsonNode node) {
  std::string text;
  if (node.is_array()) {
    node.ForEachItem([&](JsonNode frame) {
      const auto symbol = frame.Member("symbol");
      absl::StrAppend(&text, text.empty() ? "" : " ← ",
                      symbol.has_value() ? BareValue(*symbol) : BareValue(frame));
      return text.size() < 2 * kShownBytes;
    });
    if (text.empty()) text = "[]";
  } else {
    text = BareValue(node);
    std::replace(text.begin(), text.end(), '\n', ' ');
  }
  return text.size() <= kShownBytes ? text : absl::StrCat(text.substr(0, kShownBytes), "…");
}

void Member(JsonObject& object, std::string_view name, const std::optional<JsonNode>& node) {
  if (node.has_value()) object.Raw(name, node->ToJson());
}

}  // namespace

std::vector<Difference> DiffCaptures(JsonNode a, JsonNode b) {
  Differ differ;
  differ.Whole(a, b);
  return differ.Take();
}

std::string DiffText(const std::vector<Difference>& differences) {
  std::string text;
  std::string_view group;
  for (const Difference& one : differences) {
    const bool is_group = one.path == one.group;
    if (one.group != group || is_group) {
      group = one.group;
      absl::StrAppend(&text, group);
      if (!is_group) text += '\n';
    }
    if (!is_group) {
      std::string_view rest = std::string_view(one.path).substr(group.size());
      if (absl::StartsWith(rest, ".")) rest.remove_prefix(1);
      absl::StrAppend(&text, "  ", rest);
    }
    if (!one.label.empty()) absl::StrAppend(&text, " (", one.label, ")");
    if (!one.a.has_value()) {
      absl::StrAppend(&text, ": new: ", Short(*one.b), "\n");
    } else if (!one.b.has_value()) {
      absl::StrAppend(&text, ": gone: ", Short(*one.a), "\n");
    } else {
      absl::StrAppend(&text, ": ", Short(*one.a), " → ", Short(*one.b),
                      one.delta.has_value() ? absl::StrCat(" (", *one.delta, ")") : "", "\n");
    }
  }
  return text;
}

std::string DiffJson(const std::vector<Difference>& differences) {
  std::string json = "[";
  for (const Difference& one : differences) {
    if (json.size() > 1) json += ',';
    JsonObject object(json);
    object.String("path", one.path);
    object.String("change", !one.a.has_value() ? "new" : !one.b.has_value() ? "gone" : "changed");
    if (!one.label.empty()) object.String("element", one.label);
    Member(object, "a", one.a);
    Member(object, "b", one.b);
    if (one.delta.has_value()) object.Raw("delta", std::string_view(*one.delta).substr(one.delta->front() == '+'));
    object.Close();
  }
  return json + "]";
}

}  // namespace watchsnap
