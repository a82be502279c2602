#include "snapshot/cli/value_tree.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace watchsnap {
namespace {

constexpr size_t kWidth = 100;
constexpr size_t kMostElements = 256;
// Deeper than any value that a renderer writes.
constexpr int kMostDepth = 64;

bool IsScalar(JsonNode node) { return !node.is_object() && !node.is_array(); }

// A text among other things on a line.
std::string Word(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<uint8_t>(c) > ' ' && c != ',' && c != '{' && c != '}' && c != '"' && c != 0x7f;
  });
  return plain ? std::string(text) : absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\"");
}

std::string Scalar(JsonNode node) {
  const auto text = node.String();
  return text.has_value() ? Word(*text) : node.ToJson();
}

// "copy_process+0x1df5  kernel/fork.c:2582" of what is one place in the code, else nothing.
std::optional<std::string> Frame(JsonNode node) {
  static constexpr std::array<std::string_view, 7> kKnown = {
      "address", "next_address", "symbol", "offset", "file", "line", "interrupted"};
  bool all_known = true;
  node.ForEachMember([&](std::string_view name, JsonNode value) {
    all_known = std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end() && IsScalar(value);
    return all_known;
  });
  const auto symbol = node.Member("symbol");
  const auto address = node.Member("address");
  if (!all_known || (!symbol.has_value() && !address.has_value())) return std::nullopt;
  std::string text = symbol.has_value() ? Scalar(*symbol) : Scalar(*address);
  const auto offset = node.Member("offset");
  if (offset.has_value() && offset->Uint().has_value()) {
    absl::StrAppendFormat(&text, "+0x%x", *offset->Uint());
  }
  if (const auto file = node.Member("file"); file.has_value()) {
    absl::StrAppend(&text, "  ", Scalar(*file));
    if (const auto line = node.Member("line"); line.has_value()) {
      absl::StrAppend(&text, ":", Scalar(*line));
    }
  }
  if (node.Member("interrupted").has_value()) absl::StrAppend(&text, "  (interrupted here)");
  return text;
}

// One line, or nothing where it would be longer than `room`.
std::optional<std::string> Inline(JsonNode node, size_t room, int depth) {
  if (depth > kMostDepth) return std::nullopt;
  if (IsScalar(node)) {
    if (const auto text = node.String(); text.has_value() && text->size() > room) {
      return std::nullopt;
    }
    return Scalar(node);
  }
  if (const auto frame = Frame(node); frame.has_value()) return frame;
  std::string line;
  bool fits = true;
  const auto add = [&](std::string_view name, JsonNode value) {
    const auto text = Inline(value, room, depth + 1);
    fits = text.has_value();
    if (fits) absl::StrAppend(&line, line.empty() ? "" : ", ", name, *text);
    fits = fits && line.size() + 2 <= room;
    return fits;
  };
  if (node.is_object()) {
    node.ForEachMember(
        [&](std::string_view name, JsonNode value) { return add(absl::StrCat(name, ": "), value); });
    return fits ? std::optional(absl::StrCat("{", line, "}")) : std::nullopt;
  }
  node.ForEachItem([&](JsonNode value) { return add("", value); });
  return fits ? std::optional(absl::StrCat("[", line, "]")) : std::nullopt;
}

class Tree {
 public:
  // What stands behind "name:" or "[3]", line end included.
  void Value(JsonNode node, size_t indent, int depth) {
    const size_t column = out_.size() - (out_.rfind('\n') + 1);
    const auto text = node.String();
    if (text.has_value() && text->find('\n') != std::string_view::npos) {
      out_ += '\n';
      for (const std::string_view line : absl::StrSplit(*text, '\n')) {
        absl::StrAppend(&out_, std::string(indent, ' '), "| ", line, "\n");
      }
      return;
    }
    const auto line = Inline(node, kWidth - std::min(column, kWidth - 20), 0);
    if (line.has_value()) {
      absl::StrAppend(&out_, column > 0 ? " " : "", *line, "\n");
    } else if (IsScalar(node)) {
      absl::StrAppend(&out_, " ", Scalar(node), "\n");
    } else {
      if (column > 0) out_ += '\n';
      Block(node, indent, depth);
    }
  }

  // Members or elements, a line or more each.
  void Block(JsonNode node, size_t indent, int depth) {
    if (depth > kMostDepth) {
      absl::StrAppend(&out_, std::string(indent, ' '), "…\n");
      return;
    }
    if (AllScalars(node)) return Flow(node, indent);
    node.ForEachMember([&](std::string_view name, JsonNode value) {
      absl::StrAppend(&out_, std::string(indent, ' '), name, ":");
      Value(value, indent + 2, depth + 1);
      return true;
    });
    size_t index = 0;
    node.ForEachItem([&](JsonNode value) {
      absl::StrAppend(&out_, std::string(indent, ' '), "[", index, "]");
      Value(value, indent + 2, depth + 1);
      return ++index < kMostElements;
    });
    Rest(node, indent);
  }

  std::string Take() { return std::move(out_); }

 private:
  static bool AllScalars(JsonNode node) {
    bool all = node.size() > 4;
    node.ForEachMember([&](std::string_view, JsonNode value) {
      const auto text = value.String();
      all = all && IsScalar(value) && (!text.has_value() || text->size() < kWidth / 2);
      return all;
    });
    node.ForEachItem([&](JsonNode value) {
      all = all && IsScalar(value);
      return all;
    });
    return all;
  }

  // Registers, numbers: as many a line as there is room for.
  void Flow(JsonNode node, size_t indent) {
    std::vector<std::string> words;
    node.ForEachMember([&](std::string_view name, JsonNode value) {
      words.push_back(absl::StrCat(name, ": ", Scalar(value)));
      return true;
    });
    node.ForEachItem([&](JsonNode value) {
      words.push_back(Scalar(value));
      return words.size() < kMostElements;
    });
    std::string line(indent, ' ');
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string word = absl::StrCat(words[i], i + 1 < words.size() ? "," : "");
      if (line.size() > indent && line.size() + 1 + word.size() > kWidth) {
        absl::StrAppend(&out_, line, "\n");
        line.assign(indent, ' ');
      }
      absl::StrAppend(&line, line.size() > indent ? " " : "", word);
    }
    absl::StrAppend(&out_, line, "\n");
    Rest(node, indent);
  }

  void Rest(JsonNode node, size_t indent) {
    if (!node.is_array() || node.size() <= kMostElements) return;
    absl::StrAppend(&out_, std::string(indent, ' '), "… and ", node.size() - kMostElements,
                    " more; --json has them\n");
  }

  std::string out_;
};

}  // namespace

std::string ValueTree(JsonNode node) {
  Tree tree;
  if (IsScalar(node)) {
    tree.Value(node, 0, 0);
  } else if (node.size() == 0) {
    return node.is_object() ? "{}\n" : "[]\n";
  } else {
    tree.Block(node, 0, 0);
  }
  return tree.Take();
}

std::string BareValue(JsonNode node) {
  const auto text = node.String();
  return text.has_value() ? std::string(*text) : node.ToJson();
}

}  // namespace watchsnap
