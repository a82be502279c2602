#include "snapshot/parts/captured_objects.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "snapshot/report/json_text.h"

namespace watchsnap {

void AddCapturedObject(Report& report, uint64_t address, std::string_view type,
                       std::string_view value_json) {
  std::string key;
  AppendJsonHex(key, address);
  const std::string* present = FindMember(report.more, "objects");
  std::string objects = present == nullptr ? "{" : *present;
  if (present != nullptr) {
    // As a key, never inside a value: pointers there are followed by no colon.
    if (absl::StrContains(objects, absl::StrCat(key, ":"))) return;
    objects.back() = ',';
  }
  objects += absl::StrCat(key, ":");
  JsonObject object(objects);
  object.String("type", type).Raw("value", value_json);
  object.Close();
  objects += '}';
  SetMember(report.more, "objects", std::move(objects));
}

}  // namespace watchsnap
