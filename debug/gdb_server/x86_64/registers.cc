#include "debug/gdb_server/x86_64/registers.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "debug/gdb_server/hex.h"

namespace watchsnap::gdb {
namespace {

enum class Feature { kCore, kSegments, kSystem };
enum class Kind { kGeneral, kSpecial, kReadOnly, kUnavailable };

struct Register {
  const char* name;
  int bytes;
  const char* type;
  Feature feature;
  Kind kind;
  // Where its value is, widened to 64 bits; null for unavailable ones.
  uint64_t (*read)(const VcpuRegisters&);
  void (*write)(VcpuRegisters&, uint64_t);
};

#define WATCHSNAP_GENERAL(name, type, field)                                     \
  Register{name, 8, type, Feature::kCore, Kind::kGeneral,                        \
           [](const VcpuRegisters& r) -> uint64_t { return r.regs.field; },      \
           [](VcpuRegisters& r, uint64_t value) { r.regs.field = value; }}
#define WATCHSNAP_SELECTOR(name, field)                                          \
  Register{name, 4, "int32", Feature::kCore, Kind::kReadOnly,                    \
           [](const VcpuRegisters& r) -> uint64_t { return r.sregs.field.selector; }, nullptr}
#define WATCHSNAP_SYSTEM(name, field)                                            \
  Register{name, 8, "uint64", Feature::kSystem, Kind::kReadOnly,                 \
           [](const VcpuRegisters& r) -> uint64_t { return r.sregs.field; }, nullptr}
#define WATCHSNAP_BASE(name, field)                                              \
  Register{name, 8, "uint64", Feature::kSegments, Kind::kSpecial,                \
           [](const VcpuRegisters& r) -> uint64_t { return r.sregs.field.base; }, \
           [](VcpuRegisters& r, uint64_t value) { r.sregs.field.base = value; }}
#define WATCHSNAP_X87(name, bytes, type) \
  Register{name, bytes, type, Feature::kCore, Kind::kUnavailable, nullptr, nullptr}

// In GDB's order: the number of a register is its place here.
const Register kRegisters[] = {
    WATCHSNAP_GENERAL("rax", "int64", rax),
    WATCHSNAP_GENERAL("rbx", "int64", rbx),
    WATCHSNAP_GENERAL("rcx", "int64", rcx),
    WATCHSNAP_GENERAL("rdx", "int64", rdx),
    WATCHSNAP_GENERAL("rsi", "int64", rsi),
    WATCHSNAP_GENERAL("rdi", "int64", rdi),
    WATCHSNAP_GENERAL("rbp", "data_ptr", rbp),
    WATCHSNAP_GENERAL("rsp", "data_ptr", rsp),
    WATCHSNAP_GENERAL("r8", "int64", r8),
    WATCHSNAP_GENERAL("r9", "int64", r9),
    WATCHSNAP_GENERAL("r10", "int64", r10),
    WATCHSNAP_GENERAL("r11", "int64", r11),
    WATCHSNAP_GENERAL("r12", "int64", r12),
    WATCHSNAP_GENERAL("r13", "int64", r13),
    WATCHSNAP_GENERAL("r14", "int64", r14),
    WATCHSNAP_GENERAL("r15", "int64", r15),
    WATCHSNAP_GENERAL("rip", "code_ptr", rip),
    Register{"eflags", 4, "i386_eflags", Feature::kCore, Kind::kGeneral,
             [](const VcpuRegisters& r) -> uint64_t { return r.regs.rflags; },
             [](VcpuRegisters& r, uint64_t value) { r.regs.rflags = value; }},
    WATCHSNAP_SELECTOR("cs", cs),
    WATCHSNAP_SELECTOR("ss", ss),
    WATCHSNAP_SELECTOR("ds", ds),
    WATCHSNAP_SELECTOR("es", es),
    WATCHSNAP_SELECTOR("fs", fs),
    WATCHSNAP_SELECTOR("gs", gs),
    WATCHSNAP_X87("st0", 10, "i387_ext"),
    WATCHSNAP_X87("st1", 10, "i387_ext"),
    WATCHSNAP_X87("st2", 10, "i387_ext"),
    WATCHSNAP_X87("st3", 10, "i387_ext"),
    WATCHSNAP_X87("st4", 10, "i387_ext"),
    WATCHSNAP_X87("st5", 10, "i387_ext"),
    WATCHSNAP_X87("st6", 10, "i387_ext"),
    WATCHSNAP_X87("st7", 10, "i387_ext"),
    WATCHSNAP_X87("fctrl", 4, "int"),
    WATCHSNAP_X87("fstat", 4, "int"),
    WATCHSNAP_X87("ftag", 4, "int"),
    WATCHSNAP_X87("fiseg", 4, "int"),
    WATCHSNAP_X87("fioff", 4, "int"),
    WATCHSNAP_X87("foseg", 4, "int"),
    WATCHSNAP_X87("fooff", 4, "int"),
    WATCHSNAP_X87("fop", 4, "int"),
    WATCHSNAP_BASE("fs_base", fs),
    WATCHSNAP_BASE("gs_base", gs),
    WATCHSNAP_SYSTEM("cr0", cr0),
    WATCHSNAP_SYSTEM("cr2", cr2),
    WATCHSNAP_SYSTEM("cr3", cr3),
    WATCHSNAP_SYSTEM("cr4", cr4),
    WATCHSNAP_SYSTEM("cr8", cr8),
    WATCHSNAP_SYSTEM("efer", efer),
};
constexpr int kCount = sizeof(kRegisters) / sizeof(kRegisters[0]);

std::string BuildDescription() {
  // The bits of EFLAGS that have names (SDM vol. 1 §3.4.3).
  struct Flag {
    const char* name;
    int bit;
  };
  constexpr Flag kFlags[] = {{"CF", 0},  {"PF", 2},  {"AF", 4},   {"ZF", 6},   {"SF", 7},  {"TF", 8},
                             {"IF", 9},  {"DF", 10}, {"OF", 11},  {"NT", 14},  {"RF", 16}, {"VM", 17},
                             {"AC", 18}, {"VIF", 19}, {"VIP", 20}, {"ID", 21}};
  std::string xml =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
      "<architecture>i386:x86-64</architecture>\n";
  const auto add_registers = [&xml](Feature feature) {
    for (int i = 0; i < kCount; ++i) {
      const Register& reg = kRegisters[i];
      if (reg.feature != feature) continue;
      absl::StrAppend(&xml, "<reg name=\"", reg.name, "\" bitsize=\"", 8 * reg.bytes, "\" type=\"",
                      reg.type, "\" regnum=\"", i, "\"",
                      feature == Feature::kSystem ? " group=\"system\"" : "", "/>\n");
    }
    absl::StrAppend(&xml, "</feature>\n");
  };
  absl::StrAppend(&xml, "<feature name=\"org.gnu.gdb.i386.core\">\n<flags id=\"i386_eflags\" size=\"4\">\n");
  for (const Flag& flag : kFlags) {
    absl::StrAppend(&xml, "<field name=\"", flag.name, "\" start=\"", flag.bit, "\" end=\"", flag.bit,
                    "\"/>\n");
  }
  absl::StrAppend(&xml, "</flags>\n");
  add_registers(Feature::kCore);
  absl::StrAppend(&xml, "<feature name=\"org.gnu.gdb.i386.segments\">\n");
  add_registers(Feature::kSegments);
  absl::StrAppend(&xml, "<feature name=\"org.watchsnap.x86_64.system\">\n");
  add_registers(Feature::kSystem);
  absl::StrAppend(&xml, "</target>\n");
  return xml;
}

std::string ValueHex(const VcpuRegisters& registers, const Register& reg) {
  if (reg.kind == Kind::kUnavailable) return std::string(2 * reg.bytes, 'x');
  const uint64_t value = reg.read(registers);
  uint8_t bytes[8];
  std::memcpy(bytes, &value, sizeof bytes);
  return HexOf(absl::MakeConstSpan(bytes, reg.bytes));
}

// `hex` has the register's length.
absl::Status Write(const Register& reg, std::string_view hex, VcpuRegisters& registers,
                   RegisterWrite& wrote) {
  if (hex.find_first_not_of('x') == std::string_view::npos) return absl::OkStatus();
  if (reg.write == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("register ", reg.name, " cannot be written"));
  }
  const std::optional<std::vector<uint8_t>> bytes = BytesOfHex(hex);
  if (!bytes.has_value()) return absl::InvalidArgumentError("a register value that is no hexadecimal");
  uint64_t value = 0;
  std::memcpy(&value, bytes->data(), bytes->size());
  reg.write(registers, value);
  (reg.kind == Kind::kSpecial ? wrote.special : wrote.general) = true;
  return absl::OkStatus();
}

}  // namespace

const std::string& TargetDescription() {
  static const std::string* const xml = new std::string(BuildDescription());
  return *xml;
}

std::optional<std::string> RegisterHex(const VcpuRegisters& registers, int number) {
  if (number < 0 || number >= kCount) return std::nullopt;
  return ValueHex(registers, kRegisters[number]);
}

std::string AllRegistersHex(const VcpuRegisters& registers) {
  std::string hex;
  for (const Register& reg : kRegisters) hex += ValueHex(registers, reg);
  return hex;
}

absl::Status WriteRegister(int number, std::string_view hex, VcpuRegisters& registers,
                           RegisterWrite& wrote) {
  if (number < 0 || number >= kCount) {
    return absl::InvalidArgumentError(absl::StrCat("there is no register ", number));
  }
  const Register& reg = kRegisters[number];
  if (hex.size() != static_cast<size_t>(2 * reg.bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("register ", reg.name, " has ", reg.bytes, " bytes, not ", hex.size() / 2));
  }
  return Write(reg, hex, registers, wrote);
}

absl::Status WriteAllRegisters(std::string_view hex, VcpuRegisters& registers, RegisterWrite& wrote) {
  for (const Register& reg : kRegisters) {
    const size_t digits = 2 * static_cast<size_t>(reg.bytes);
    if (hex.size() < digits) return absl::InvalidArgumentError("too few registers");
    if (reg.write != nullptr) {
      absl::Status status = Write(reg, hex.substr(0, digits), registers, wrote);
      if (!status.ok()) return status;
    }
    hex.remove_prefix(digits);
  }
  return absl::OkStatus();
}

}  // namespace watchsnap::gdb
