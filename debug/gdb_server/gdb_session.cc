#include "debug/gdb_server/gdb_session.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "debug/gdb_server/commands.h"
#include "debug/gdb_server/hex.h"
#include "debug/gdb_server/packet.h"
#include "debug/gdb_server/x86_64/registers.h"

namespace watchsnap::gdb {
namespace {

// The numbers in "E" packets say little to gdb; these are errno's, in hexadecimal.
constexpr std::string_view kBadOperands = "E16";  // EINVAL
constexpr std::string_view kBadAddress = "E0e";   // EFAULT
constexpr std::string_view kNoSlot = "E1c";       // ENOSPC
constexpr std::string_view kBusy = "E10";         // EBUSY: the guest runs
constexpr std::string_view kFailed = "E05";       // EIO
constexpr std::string_view kNotSupported = "";

// Signal numbers as gdb has them (its include/gdb/signals.def).
constexpr int kSigInt = 2;
constexpr int kSigTrap = 5;

// The most memory of one answer: two digits a byte.
constexpr uint64_t kMaxRead = kMaxPacket / 2 - 8;

}  // namespace

std::string GdbSession::Refuse(std::string_view code, const absl::Status& why) {
  if (on_message_) on_message_(why.message());
  return std::string(code);
}

void GdbSession::End() {
  over_ = true;
  running_ = false;
  absl::Status status = debugger_.Detach();
  if (!status.ok()) Refuse(kFailed, status);
}

std::optional<std::string> GdbSession::OnPacket(std::string_view packet) {
  if (running_) return std::string(kBusy);  // in all-stop mode only an interrupt may come now
  if (packet.empty()) return std::string(kNotSupported);
  std::string_view operands = packet.substr(1);
  switch (packet[0]) {
    case '?':
      return StopReply();
    case 'c':
    case 'C':
    case 's':
    case 'S':
      return RunLegacy(packet[0]);
    case 'D':
    case 'k':
      End();
      return "OK";
    case 'g':
      return AllRegistersHex(debugger_.Registers(vcpu_));
    case 'G':
      return WriteAll(operands);
    case 'H':
      return SelectThread(operands);
    case 'm':
      return ReadMemory(operands);
    case 'M':
      return WriteMemory(operands, /*binary=*/false);
    case 'X':
      return WriteMemory(operands, /*binary=*/true);
    case 'p': {
      const std::optional<uint64_t> number = NumberOfHex(operands);
      if (!number.has_value() || *number > kMaxPacket) return std::string(kBadOperands);
      return RegisterHex(debugger_.Registers(vcpu_), static_cast<int>(*number))
          .value_or(std::string(kBadOperands));
    }
    case 'P':
      return WriteOne(operands);
    case 'T': {
      const std::optional<int> thread = ParseThread(operands);
      const bool alive = thread.has_value() && *thread >= 1 && *thread <= debugger_.vcpu_count();
      return alive ? "OK" : std::string(kBadOperands);
    }
    case 'Z':
    case 'z':
      return SetBreakpoint(operands, packet[0] == 'Z');
    case 'q':
    case 'Q':
      return Query(packet);
    case 'v':
      if (packet == "vCont?") return "vCont;c;C;s;S";
      if (absl::ConsumePrefix(&packet, "vCont")) {
        const auto actions = ParseVCont(packet, debugger_.vcpu_count());
        if (!actions.has_value()) return std::string(kBadOperands);
        return Run(*actions);
      }
      if (absl::StartsWith(packet, "vKill")) {
        End();
        return "OK";
      }
      return std::string(kNotSupported);
    default:
      return std::string(kNotSupported);
  }
}

std::string GdbSession::Query(std::string_view packet) {
  if (absl::ConsumePrefix(&packet, "qSupported")) return Supported(packet);
  if (absl::ConsumePrefix(&packet, "qXfer:")) return Transfer(packet);
  if (packet == "QStartNoAckMode") {
    no_acknowledgements_ = true;
    return "OK";
  }
  if (packet == "qfThreadInfo") return ThreadList();
  if (packet == "qsThreadInfo") return "l";
  if (absl::ConsumePrefix(&packet, "qThreadExtraInfo,")) return ThreadInfo(packet);
  if (packet == "qC") return absl::StrFormat("QC%x", vcpu_ + 1);
  if (packet == "qAttached" || absl::StartsWith(packet, "qAttached:")) return "1";
  if (packet == "qSymbol::") return "OK";
  return std::string(kNotSupported);
}

std::string GdbSession::Supported(std::string_view features) {
  absl::ConsumePrefix(&features, ":");
  for (std::string_view feature : absl::StrSplit(features, ';')) {
    if (feature == "swbreak+") knows_swbreak_ = true;
    if (feature == "hwbreak+") knows_hwbreak_ = true;
  }
  return absl::StrFormat("PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+%s%s",
                         kMaxPacket, knows_swbreak_ ? ";swbreak+" : "",
                         knows_hwbreak_ ? ";hwbreak+" : "");
}

std::string GdbSession::Transfer(std::string_view operands) const {
  const std::optional<TransferOperands> wanted = ParseTransfer(operands);
  if (!wanted.has_value()) return std::string(kBadOperands);
  if (wanted->object != "features") return std::string(kNotSupported);
  if (wanted->annex != "target.xml") return "E00";  // the manual: an invalid annex
  const std::string_view all = TargetDescription();
  if (wanted->offset > all.size()) return std::string(kBadOperands);
  // Frame, 'm' and escapes fit too: XML has none of the bytes that are escaped but '#', '$', '}' and '*'.
  const std::string_view part = all.substr(wanted->offset, std::min<uint64_t>(wanted->length, kMaxRead));
  return absl::StrCat(wanted->offset + part.size() == all.size() ? "l" : "m", part);
}

std::string GdbSession::ThreadList() const {
  std::string list = "m";
  for (int i = 0; i < debugger_.vcpu_count(); ++i) {
    absl::StrAppendFormat(&list, "%s%x", i == 0 ? "" : ",", i + 1);
  }
  return list;
}

std::string GdbSession::ThreadInfo(std::string_view operand) {
  const std::optional<int> thread = ParseThread(operand);
  if (!thread.has_value() || *thread < 1 || *thread > debugger_.vcpu_count()) {
    return std::string(kBadOperands);
  }
  const int vcpu = *thread - 1;
  return HexOf(absl::StrCat("vCPU ", vcpu,
                            debugger_.Registers(vcpu).user_mode() ? ", in user mode" : ", in the kernel"));
}

std::string GdbSession::SelectThread(std::string_view operands) {
  if (operands.empty()) return std::string(kBadOperands);
  const char what = operands[0];
  const std::optional<int> thread = ParseThread(operands.substr(1));
  if (!thread.has_value() || *thread > debugger_.vcpu_count()) return std::string(kBadOperands);
  if (what == 'g') {
    if (*thread >= 1) vcpu_ = *thread - 1;
    return "OK";
  }
  if (what == 'c') {
    step_vcpu_ = *thread >= 1 ? *thread - 1 : -1;
    return "OK";
  }
  return std::string(kBadOperands);
}

std::string GdbSession::ReadMemory(std::string_view text) {
  const std::optional<MemoryOperands> operands = ParseMemory(text);
  if (!operands.has_value()) return std::string(kBadOperands);
  const auto bytes = debugger_.memory().Read(vcpu_, operands->address,
                                             std::min<uint64_t>(operands->length, kMaxRead));
  // Not told in words: gdb reads at random places a lot.
  return bytes.ok() ? HexOf(*bytes) : std::string(kBadAddress);
}

std::string GdbSession::WriteMemory(std::string_view text, bool binary) {
  const std::optional<MemoryOperands> operands = ParseMemory(text);
  if (!operands.has_value()) return std::string(kBadOperands);
  std::vector<uint8_t> bytes;
  if (binary) {
    bytes.assign(operands->data.begin(), operands->data.end());
  } else {
    std::optional<std::vector<uint8_t>> decoded = BytesOfHex(operands->data);
    if (!decoded.has_value()) return std::string(kBadOperands);
    bytes = *std::move(decoded);
  }
  if (bytes.size() != operands->length) return std::string(kBadOperands);
  absl::Status status = debugger_.memory().Write(vcpu_, operands->address, bytes);
  return status.ok() ? "OK" : Refuse(kBadAddress, status);
}

std::string GdbSession::Store(const VcpuRegisters& registers, const absl::Status& parsed, bool general,
                              bool special) {
  if (!parsed.ok()) return Refuse(kBadOperands, parsed);
  absl::Status status = debugger_.SetRegisters(vcpu_, registers, general, special);
  return status.ok() ? "OK" : Refuse(kFailed, status);
}

std::string GdbSession::WriteOne(std::string_view operands) {
  const size_t equals = operands.find('=');
  if (equals == std::string_view::npos) return std::string(kBadOperands);
  const std::optional<uint64_t> number = NumberOfHex(operands.substr(0, equals));
  if (!number.has_value() || *number > kMaxPacket) return std::string(kBadOperands);
  VcpuRegisters registers = debugger_.Registers(vcpu_);
  RegisterWrite wrote;
  const absl::Status parsed =
      WriteRegister(static_cast<int>(*number), operands.substr(equals + 1), registers, wrote);
  return Store(registers, parsed, wrote.general, wrote.special);
}

std::string GdbSession::WriteAll(std::string_view operands) {
  VcpuRegisters registers = debugger_.Registers(vcpu_);
  RegisterWrite wrote;
  const absl::Status parsed = WriteAllRegisters(operands, registers, wrote);
  return Store(registers, parsed, wrote.general, wrote.special);
}

std::string GdbSession::SetBreakpoint(std::string_view text, bool insert) {
  const std::optional<BreakpointOperands> operands = ParseBreakpoint(text);
  if (!operands.has_value()) return std::string(kBadOperands);
  if (operands->type == BreakpointType::kRead || operands->type == BreakpointType::kAccess) {
    return std::string(kNotSupported);
  }
  const uint32_t length = static_cast<uint32_t>(std::min<uint64_t>(operands->kind, UINT32_MAX));
  absl::Status status =
      insert ? debugger_.AddBreakpoint(vcpu_, operands->type, operands->address, length)
             : debugger_.RemoveBreakpoint(operands->type, operands->address, length);
  if (status.ok()) return "OK";
  if (absl::IsNotFound(status)) return Refuse(kBadAddress, status);
  return Refuse(absl::IsResourceExhausted(status) || absl::IsAlreadyExists(status) ? kNoSlot : kFailed,
                status);
}

std::optional<std::string> GdbSession::Run(absl::Span<const RunAction> actions) {
  absl::Status status = debugger_.Run(actions);
  if (!status.ok()) return Refuse(kFailed, status);
  running_ = true;
  just_attached_ = false;
  return std::nullopt;
}

std::optional<std::string> GdbSession::RunLegacy(char command) {
  std::vector<RunAction> actions(debugger_.vcpu_count(), RunAction::kContinue);
  if (command == 's' || command == 'S') {
    actions[step_vcpu_ >= 0 ? step_vcpu_ : vcpu_] = RunAction::kStep;
  }
  return Run(actions);
}

std::string GdbSession::Told(const Stop& stop) {
  running_ = false;
  stop_ = stop;
  vcpu_ = stop.vcpu;
  step_vcpu_ = -1;
  return StopReply();
}

std::string GdbSession::StopReply() const {
  const int signal = stop_.kind == Stop::kInterrupted && !just_attached_ ? kSigInt : kSigTrap;
  std::string reply = absl::StrFormat("T%02xthread:%x;", signal, stop_.vcpu + 1);
  const VcpuRegisters& registers = debugger_.Registers(stop_.vcpu);
  for (int number : {kPcRegister, kStackPointerRegister}) {
    absl::StrAppendFormat(&reply, "%02x:%s;", number, *RegisterHex(registers, number));
  }
  if (stop_.kind == Stop::kWatch) absl::StrAppendFormat(&reply, "watch:%x;", stop_.address);
  if (stop_.kind == Stop::kSoftwareBreakpoint && knows_swbreak_) absl::StrAppend(&reply, "swbreak:;");
  if (stop_.kind == Stop::kHardwareBreakpoint && knows_hwbreak_) absl::StrAppend(&reply, "hwbreak:;");
  return reply;
}

std::optional<std::string> GdbSession::OnInterrupt() {
  if (!running_) return std::nullopt;  // it crossed our stop reply
  return Told(debugger_.Interrupt());
}

std::optional<std::string> GdbSession::OnStopNotice() {
  if (!running_) return std::nullopt;
  const std::optional<Stop> stop = debugger_.TakeStop();
  if (!stop.has_value()) return std::nullopt;
  return Told(*stop);
}

std::optional<std::string> GdbSession::OnMachineEnd() const {
  if (!running_) return std::nullopt;
  return "W00";
}

}  // namespace watchsnap::gdb
