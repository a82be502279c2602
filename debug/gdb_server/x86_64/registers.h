// A vCPU's registers as GDB numbers and describes them (x86-64, 64-bit): the target description, and
// values in and out.
//
// General registers, fs_base, gs_base and the control registers are the vCPU's. The x87 registers, which
// GDB's core feature demands, are said to be unavailable ("xx"): kernels do not use them.
// Writable: the general registers, rip, eflags, fs_base, gs_base.
//
// Threads: pure functions. Values are little-endian hexadecimal, as the protocol wants.
// Errors: nullopt for a register number that is none.
// Source: "Target Descriptions", appendix G of the GDB manual, features org.gnu.gdb.i386.core and
// org.gnu.gdb.i386.segments.
#ifndef WATCHSNAP_DEBUG_GDB_SERVER_X86_64_REGISTERS_H_
#define WATCHSNAP_DEBUG_GDB_SERVER_X86_64_REGISTERS_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "vmm/x86_64/registers.h"

namespace watchsnap::gdb {

inline constexpr int kStackPointerRegister = 7;
inline constexpr int kPcRegister = 16;

// target.xml.
const std::string& TargetDescription();

// The value of the register numbered `number`.
std::optional<std::string> RegisterHex(const VcpuRegisters& registers, int number);
// All of them, in order: the answer to 'g'.
std::string AllRegistersHex(const VcpuRegisters& registers);

// Which of the two structures a write changed.
struct RegisterWrite {
  bool general = false;
  bool special = false;
};
// InvalidArgument: no such register, a value of another size, or one that cannot be written. Writing to
// an unavailable register what was read from it ("xx…") is no error and does nothing.
absl::Status WriteRegister(int number, std::string_view hex, VcpuRegisters& registers,
                           RegisterWrite& wrote);
// The operand of 'G'. Registers that cannot be written are left alone.
absl::Status WriteAllRegisters(std::string_view hex, VcpuRegisters& registers, RegisterWrite& wrote);

}  // namespace watchsnap::gdb

#endif  // WATCHSNAP_DEBUG_GDB_SERVER_X86_64_REGISTERS_H_
