#include "debug/lines/line_table.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "dwarf.h"

namespace watchsnap {
namespace {

// The largest of a stock kernel has 300 KB; libdwarf keeps about 150 bytes for each row.
constexpr uint64_t kMaxLineTableBytes = 8 << 20;
constexpr Dwarf_Signed kMaxFiles = 1 << 16;

std::string BuildDirectory(DwarfHandle& dwarf, Dwarf_Die unit_die) {
  Dwarf_Attribute attr = nullptr;
  if (!dwarf.Ok(dwarf_attr(unit_die, DW_AT_comp_dir, &attr, dwarf.error()))) return "";
  char* text = nullptr;
  std::string result;
  if (dwarf.Ok(dwarf_formstring(attr, &text, dwarf.error())) && text != nullptr) result = text;
  dwarf_dealloc_attribute(attr);
  return result;
}

void Append(std::string& path, std::string_view part) {
  if (!path.empty()) path += '/';  // addr2line adds it whatever is there
  path.append(part);
}

// How much of `path` is `directory` and the slashes after it.
size_t PrefixLength(std::string_view path, std::string_view directory) {
  while (absl::EndsWith(directory, "/")) directory.remove_suffix(1);
  if (directory.empty() || !absl::StartsWith(path, directory)) return 0;
  size_t length = directory.size();
  if (length >= path.size() || path[length] != '/') return 0;
  while (length < path.size() && path[length] == '/') ++length;
  return length;
}

void ReadFiles(DwarfHandle& dwarf, Dwarf_Line_Context context, const std::string& build_directory,
               UnitLines& lines) {
  Dwarf_Signed first = 0, count = 0, end = 0;
  if (!dwarf.Ok(dwarf_srclines_files_indexes(context, &first, &count, &end, dwarf.error()))) return;
  end = std::min(end, kMaxFiles);
  lines.files.resize(std::max<Dwarf_Signed>(end, 0));
  for (Dwarf_Signed i = std::max<Dwarf_Signed>(first, 0); i < end; ++i) {
    const char* name = nullptr;
    Dwarf_Unsigned directory = 0, modified = 0, length = 0;
    Dwarf_Form_Data16* md5 = nullptr;
    if (!dwarf.Ok(dwarf_srclines_files_data_b(context, i, &name, &directory, &modified, &length,
                                              &md5, dwarf.error())) ||
        name == nullptr) {
      continue;
    }
    std::string path;
    if (name[0] != '/') {
      const char* text = nullptr;
      // Directory 0 is the build directory: in version 5 it is there once more.
      if (directory != 0 && !dwarf.Ok(dwarf_srclines_include_dir_data(
                                context, static_cast<Dwarf_Signed>(directory), &text,
                                dwarf.error()))) {
        text = nullptr;
      }
      if (text == nullptr || text[0] != '/') path = build_directory;
      if (text != nullptr) Append(path, text);
    }
    Append(path, name);
    lines.files[i] = {.path = path, .build_prefix = PrefixLength(path, build_directory)};
  }
}

}  // namespace

absl::Status ReadLineTable(const DwarfSections& sections, DwarfHandle& dwarf, Dwarf_Die unit_die,
                           UnitLines& lines) {
  Dwarf_Attribute attr = nullptr;
  if (!dwarf.Ok(dwarf_attr(unit_die, DW_AT_stmt_list, &attr, dwarf.error()))) {
    return absl::OkStatus();
  }
  Dwarf_Off offset = 0;
  const bool known = dwarf.Ok(dwarf_global_formref(attr, &offset, dwarf.error()));
  dwarf_dealloc_attribute(attr);
  const auto size = known ? sections.LineTableSize(offset) : std::nullopt;
  if (!size.has_value() || *size > kMaxLineTableBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "'%s': no line table at offset 0x%x of .debug_line (wanted one of at most %d bytes): the "
        "file is damaged",
        sections.path(), offset, kMaxLineTableBytes));
  }
  Dwarf_Unsigned version = 0;
  Dwarf_Small table_count = 0;
  Dwarf_Line_Context context = nullptr;
  absl::StatusOr<bool> ok = dwarf.Check(
      dwarf_srclines_b(unit_die, &version, &table_count, &context, dwarf.error()), "a line table");
  if (!ok.ok()) return ok.status();
  if (!*ok) return absl::OkStatus();
  const absl::Cleanup free_context = [&] { dwarf_srclines_dealloc_b(context); };
  ReadFiles(dwarf, context, BuildDirectory(dwarf, unit_die), lines);
  Dwarf_Line* rows = nullptr;
  Dwarf_Signed count = 0;
  ok = dwarf.Check(dwarf_srclines_from_linecontext(context, &rows, &count, dwarf.error()),
                   "the rows of a line table");
  if (!ok.ok()) return ok.status();
  if (!*ok) return absl::OkStatus();

  lines.rows.reserve(count);
  size_t first = 0;  // of the sequence being read
  for (Dwarf_Signed i = 0; i < count; ++i) {
    Dwarf_Addr address = 0;
    Dwarf_Unsigned file = 0, line = 0, column = 0;
    Dwarf_Unsigned isa = 0, discriminator = 0;
    Dwarf_Bool ends = false, prologue_end = false, epilogue_begin = false;
    if (!dwarf.Ok(dwarf_lineaddr(rows[i], &address, dwarf.error())) ||
        !dwarf.Ok(dwarf_line_srcfileno(rows[i], &file, dwarf.error())) ||
        !dwarf.Ok(dwarf_lineno(rows[i], &line, dwarf.error())) ||
        !dwarf.Ok(dwarf_lineoff_b(rows[i], &column, dwarf.error())) ||
        !dwarf.Ok(dwarf_lineendsequence(rows[i], &ends, dwarf.error())) ||
        !dwarf.Ok(dwarf_prologue_end_etc(rows[i], &prologue_end, &epilogue_begin, &isa,
                                         &discriminator, dwarf.error()))) {
      continue;
    }
    // libdwarf 0.11 says of each row that begins an epilogue that it ends the sequence too.
    if (epilogue_begin) ends = false;
    if (!ends) {
      const UnitLines::Row row = {.address = address,
                                  .file = static_cast<uint32_t>(file),
                                  .line = static_cast<uint32_t>(line),
                                  .column = static_cast<uint32_t>(column)};
      // Of several rows of one address the last says what the code there is for.
      if (lines.rows.size() > first && lines.rows.back().address == address) {
        lines.rows.back() = row;
      } else {
        lines.rows.push_back(row);
      }
      continue;
    }
    const auto begin = lines.rows.begin() + first;
    std::stable_sort(begin, lines.rows.end(), [](const UnitLines::Row& a, const UnitLines::Row& b) {
      return a.address < b.address;
    });
    // Address 0 is what is left of code that the linker threw away.
    if (begin == lines.rows.end() || begin->address == 0 || begin->address >= address) {
      lines.rows.resize(first);
      continue;
    }
    lines.sequences.push_back({.begin = begin->address,
                               .end = address,
                               .first_row = static_cast<uint32_t>(first),
                               .row_count = static_cast<uint32_t>(lines.rows.size() - first)});
    first = lines.rows.size();
  }
  lines.rows.resize(first);  // a sequence without an end holds no addresses
  lines.rows.shrink_to_fit();
  std::sort(lines.sequences.begin(), lines.sequences.end(),
            [](const UnitLines::Sequence& a, const UnitLines::Sequence& b) {
              return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
            });
  return absl::OkStatus();
}

}  // namespace watchsnap
