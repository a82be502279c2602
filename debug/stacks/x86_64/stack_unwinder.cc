#include "debug/stacks/stack_unwinder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/stacks/x86_64/visited_stacks.h"

namespace watchsnap {
namespace {

using x86_64::OrcBase;
using x86_64::OrcEntry;
using x86_64::OrcTable;
using x86_64::OrcType;
using x86_64::VisitedStacks;

// struct pt_regs (arch/x86/include/asm/ptrace.h) in words.
constexpr size_t kPtRegsWords = 21;
constexpr size_t kPtRegsR13 = 2;
constexpr size_t kPtRegsBp = 4;
constexpr size_t kPtRegsR10 = 7;
constexpr size_t kPtRegsAx = 10;
constexpr size_t kPtRegsDx = 12;
constexpr size_t kPtRegsDi = 14;
constexpr size_t kPtRegsIret = 16;
// What an exception pushes and IRETQ pops (SDM vol. 3A §6.14.2), in words: RIP, CS, RFLAGS, RSP,
// SS.
constexpr size_t kIretWords = 5;
constexpr size_t kIretPc = 0;
constexpr size_t kIretCs = 1;
constexpr size_t kIretSp = 3;

// A call of a null pointer: the return address is on top (unwind_orc.c, null_orc_entry).
constexpr OrcEntry kNullCall = {.sp_offset = 8, .sp_base = OrcBase::kSp, .type = OrcType::kCall};
// Code that keeps a frame pointer: saved RBP, then the return address (unwind_orc.c, orc_fp_entry).
constexpr OrcEntry kFramePointer = {.sp_offset = 16,
                                    .bp_offset = -16,
                                    .sp_base = OrcBase::kBp,
                                    .bp_base = OrcBase::kPreviousSp,
                                    .type = OrcType::kCall};

// An exception's entry calls error_entry, which pushes the registers and moves its return address
// below them (arch/x86/entry/entry_64.S). The unwind table describes the caller as it was before,
// with only what the processor pushed, until the instruction behind the call has moved RAX to RSP.
// Up to there struct pt_regs is on top: seen from sync_regs, which error_entry jumps to, and at
// that instruction itself.
constexpr std::array<uint8_t, 3> kMoveRaxToRsp = {0x48, 0x89, 0xc4};
constexpr OrcEntry kBehindErrorEntry = {
    .sp_base = OrcBase::kSp, .type = OrcType::kRegs, .signal = true};

// Retpolines, one a register (arch/x86/lib/retpoline.S; nospec-branch.h, RETPOLINE_THUNK_SIZE).
// objtool leaves their first instructions without unwind information, but what they do to the stack
// is plain: at 0 the caller's return address is on top; at 3 still, where the thunk was patched to
// LFENCE; JMP; at 6 its own call's is above it.
constexpr uint64_t kThunks = 16;
constexpr uint64_t kThunkBytes = 32;

std::optional<OrcEntry> ThunkEntry(uint64_t offset) {
  OrcEntry entry = kNullCall;
  switch (offset % kThunkBytes) {
    case 0:
    case 3:
      return entry;
    case 6:
      entry.sp_offset = 16;
      return entry;
    default:
      return std::nullopt;
  }
}

// Registers that a call does not preserve: known in the innermost frame and where an exception
// saved them.
struct Scratch {
  uint64_t ax = 0;
  uint64_t dx = 0;
  uint64_t di = 0;
  uint64_t r10 = 0;
  uint64_t r13 = 0;
};

class Walk {
 public:
  Walk(const UnwindInput& input, StackReader read)
      : read_(read),
        pc_(input.registers.pc),
        sp_(input.registers.sp),
        bp_(input.registers.bp),
        scratch_(Scratch{.ax = input.registers.ax,
                         .dx = input.registers.dx,
                         .di = input.registers.di,
                         .r10 = input.registers.r10,
                         .r13 = input.registers.r13}),
        visited_(sp_) {}

  StackFrame frame() const {
    return {.pc = pc_, .sp = sp_, .kind = kind_, .saved_registers = saved_registers_};
  }

  // Goes to the caller by `entry`; false at the end of the stack, with `out` told which.
  bool Step(const OrcEntry& entry, UnwoundStack& out) {
    uint64_t previous_sp = 0;
    if (!FindPreviousSp(entry, previous_sp, out)) return false;
    const uint64_t old_bp = bp_;
    saved_registers_ = 0;
    switch (entry.type) {
      case OrcType::kCall:
        if (!ReadWords(previous_sp - 8, absl::MakeSpan(&pc_, 1), out)) return false;
        sp_ = previous_sp;
        scratch_.reset();
        break;
      case OrcType::kRegs:
        if (!LeaveRegs(previous_sp, out)) return false;
        break;
      case OrcType::kRegsPartial:
        if (!LeaveIretFrame(previous_sp, out)) return false;
        break;
      default:
        return Bad("its type has no meaning", out);
    }
    kind_ = entry.signal ? FrameKind::kInterrupted : FrameKind::kCaller;
    if (entry.bp_base == OrcBase::kPreviousSp || entry.bp_base == OrcBase::kBp) {
      const uint64_t base = entry.bp_base == OrcBase::kBp ? old_bp : previous_sp;
      if (!ReadWords(base + static_cast<uint64_t>(int64_t{entry.bp_offset}),
                     absl::MakeSpan(&bp_, 1), out)) {
        return false;
      }
    } else if (entry.bp_base != OrcBase::kUndefined) {
      return Bad("the caller's RBP has no known base", out);
    }
    if (!visited_.Advance(sp_)) {
      out.end = StackEnd::kLoop;
      out.detail =
          absl::StrFormat("the stack pointer after %#x would be %#x, where the stack was before",
                          out.frames.back().pc, sp_);
      return false;
    }
    return true;
  }

 private:
  bool Bad(std::string_view why, UnwoundStack& out) {
    out.end = StackEnd::kBadEntry;
    out.detail = absl::StrFormat("the unwind entry at %#x cannot be followed: %s",
                                 out.frames.back().pc, why);
    return false;
  }

  bool ReadWords(uint64_t kva, absl::Span<uint64_t> words, UnwoundStack& out) {
    const size_t bytes = words.size() * sizeof(uint64_t);
    if (read_(kva, absl::MakeSpan(reinterpret_cast<uint8_t*>(words.data()), bytes))) return true;
    out.end = StackEnd::kNotCopied;
    out.missing_address = kva;
    out.missing_bytes = static_cast<uint32_t>(bytes);
    out.detail = absl::StrFormat("%d bytes at %#x were not copied", bytes, kva);
    return false;
  }

  bool FindPreviousSp(const OrcEntry& entry, uint64_t& previous_sp, UnwoundStack& out) {
    const auto offset = static_cast<uint64_t>(int64_t{entry.sp_offset});
    switch (entry.sp_base) {
      case OrcBase::kSp:
        previous_sp = sp_ + offset;
        return true;
      case OrcBase::kBp:
        previous_sp = bp_ + offset;
        return true;
      case OrcBase::kSpIndirect:
        if (!ReadWords(sp_, absl::MakeSpan(&previous_sp, 1), out)) return false;
        previous_sp += offset;
        return true;
      case OrcBase::kBpIndirect:
        return ReadWords(bp_ + offset, absl::MakeSpan(&previous_sp, 1), out);
      case OrcBase::kAx:
      case OrcBase::kDx:
      case OrcBase::kDi:
      case OrcBase::kR10:
      case OrcBase::kR13:
        // These have no offset: the kernel's unwinder takes the register as it is.
        if (!scratch_.has_value())
          return Bad("it needs a register that calls do not preserve", out);
        previous_sp = entry.sp_base == OrcBase::kAx    ? scratch_->ax
                      : entry.sp_base == OrcBase::kDx  ? scratch_->dx
                      : entry.sp_base == OrcBase::kDi  ? scratch_->di
                      : entry.sp_base == OrcBase::kR10 ? scratch_->r10
                                                       : scratch_->r13;
        return true;
      default:
        return Bad("the caller's RSP has no known base", out);
    }
  }

  bool LeaveRegs(uint64_t at, UnwoundStack& out) {
    std::array<uint64_t, kPtRegsWords> regs;
    if (!ReadWords(at, absl::MakeSpan(regs), out)) return false;
    scratch_ = Scratch{.ax = regs[kPtRegsAx],
                       .dx = regs[kPtRegsDx],
                       .di = regs[kPtRegsDi],
                       .r10 = regs[kPtRegsR10],
                       .r13 = regs[kPtRegsR13]};
    bp_ = regs[kPtRegsBp];
    saved_registers_ = at;
    return Leave(absl::MakeConstSpan(regs).subspan(kPtRegsIret), out);
  }

  // Entry code that has saved no more than the processor did has changed no register either: those
  // that were known are the interrupted code's.
  bool LeaveIretFrame(uint64_t at, UnwoundStack& out) {
    std::array<uint64_t, kIretWords> iret;
    if (!ReadWords(at, absl::MakeSpan(iret), out)) return false;
    return Leave(iret, out);
  }

  bool Leave(absl::Span<const uint64_t> iret, UnwoundStack& out) {
    // The current privilege level of what was interrupted (SDM vol. 3A §5.5).
    if ((iret[kIretCs] & 3) == 3) {
      out.end = StackEnd::kUserSpace;
      out.user_pc = iret[kIretPc];
      out.user_sp = iret[kIretSp];
      return false;
    }
    pc_ = iret[kIretPc];
    sp_ = iret[kIretSp];
    return true;
  }

  const StackReader read_;
  uint64_t pc_;
  uint64_t sp_;
  uint64_t bp_;
  FrameKind kind_ = FrameKind::kInnermost;
  uint64_t saved_registers_ = 0;
  std::optional<Scratch> scratch_;
  VisitedStacks visited_;
};

}  // namespace

StackUnwinder::StackUnwinder(std::shared_ptr<const KernelSymbols> symbols, OrcTable table)
    : symbols_(std::move(symbols)), table_(std::move(table)) {
  entry_text_begin_ = symbols_->AddressOf("__entry_text_start").value_or(0);
  entry_text_end_ = symbols_->AddressOf("__entry_text_end").value_or(0);
  thunks_ = symbols_->AddressOf("__x86_indirect_thunk_array").value_or(0);
  sync_regs_begin_ = symbols_->AddressOf("sync_regs").value_or(0);
  if (const auto symbol = symbols_->Symbolize(sync_regs_begin_);
      sync_regs_begin_ != 0 && symbol.has_value()) {
    sync_regs_end_ = symbol->address + symbol->size;
  }
}

absl::StatusOr<std::shared_ptr<const StackUnwinder>> StackUnwinder::Create(
    std::shared_ptr<const KernelSymbols> symbols) {
  absl::StatusOr<OrcTable> table = OrcTable::Create(symbols->elf());
  if (!table.ok()) return table.status();
  return std::shared_ptr<const StackUnwinder>(
      new StackUnwinder(std::move(symbols), *std::move(table)));
}

StackEnd StackUnwinder::EndAt(uint64_t address) const {
  if (address >= entry_text_begin_ && address < entry_text_end_) return StackEnd::kKernelEntry;
  const std::optional<TextSymbol> symbol = symbols_->Symbolize(address);
  if (!symbol.has_value()) return StackEnd::kEndOfStack;
  // arch/x86/entry/entry_64.S and arch/x86/kernel/head_64.S.
  if (symbol->name == "ret_from_fork_asm" || symbol->name == "ret_from_fork")
    return StackEnd::kKernelThread;
  if (symbol->name == "common_startup_64" || symbol->name == "secondary_startup_64" ||
      symbol->name == "secondary_startup_64_no_verify" || symbol->name == "startup_64" ||
      symbol->name == "start_cpu0" || symbol->name == "soft_restart_cpu") {
    return StackEnd::kCpuStart;
  }
  return StackEnd::kEndOfStack;
}

bool StackUnwinder::IsBehindErrorEntry(const StackFrame& frame, const StackFrame* callee,
                                       uint64_t slide) const {
  if (frame.kind == FrameKind::kCaller) {
    return callee != nullptr && callee->pc - slide >= sync_regs_begin_ &&
           callee->pc - slide < sync_regs_end_;
  }
  const uint64_t address = frame.pc - slide;
  std::array<uint8_t, kMoveRaxToRsp.size()> bytes = {};
  if (!symbols_->elf().ReadAtKva(address, absl::MakeSpan(bytes)).ok() || bytes != kMoveRaxToRsp)
    return false;
  const std::optional<OrcEntry> next = table_.Find(address + bytes.size());
  return next.has_value() && next->type == OrcType::kRegs && next->sp_base == OrcBase::kSp &&
         next->sp_offset == 0;
}

std::optional<OrcEntry> StackUnwinder::FindEntry(StackFrame& frame, const StackFrame* callee,
                                                 const UnwindInput& input) const {
  if (frame.pc == 0) return kNullCall;
  const uint64_t address = frame.pc - input.slide;
  std::optional<OrcEntry> entry = table_.Find(frame.lookup_pc() - input.slide);
  if (!entry.has_value() && input.has_frame_pointer && input.has_frame_pointer(frame.pc))
    return kFramePointer;
  if (entry.has_value() && entry->type == OrcType::kRegsPartial &&
      IsBehindErrorEntry(frame, callee, input.slide)) {
    return kBehindErrorEntry;
  }
  if (!entry.has_value() || entry->type != OrcType::kUndefined) return entry;
  if (frame.kind == FrameKind::kCaller) {
    // No call stands before it, only padding.
    const std::optional<TextSymbol> symbol = symbols_->Symbolize(address);
    if (!symbol.has_value() || symbol->offset != 0) return entry;
    frame.kind = FrameKind::kStart;
    entry = table_.Find(address);
    if (!entry.has_value() || entry->type != OrcType::kUndefined) return entry;
  }
  if (thunks_ != 0 && address >= thunks_ && address - thunks_ < kThunks * kThunkBytes) {
    if (std::optional<OrcEntry> thunk = ThunkEntry(address - thunks_); thunk.has_value())
      return thunk;
  }
  return entry;
}

UnwoundStack StackUnwinder::Unwind(const UnwindInput& input, StackReader read,
                                   int max_frames) const {
  UnwoundStack out;
  if (input.registers.user_mode) {
    out.end = StackEnd::kUserSpace;
    out.user_pc = input.registers.pc;
    out.user_sp = input.registers.sp;
    return out;
  }
  Walk walk(input, read);
  while (static_cast<int>(out.frames.size()) < max_frames) {
    StackFrame frame = walk.frame();
    const StackFrame* callee = out.frames.empty() ? nullptr : &out.frames.back();
    const std::optional<OrcEntry> entry = FindEntry(frame, callee, input);
    out.frames.push_back(frame);
    if (!entry.has_value()) {
      out.end = StackEnd::kNoUnwindEntry;
      out.detail = absl::StrFormat("%#x is not in the kernel's own text", frame.pc);
      return out;
    }
    if (entry->type == OrcType::kUndefined) {
      out.end = StackEnd::kNoUnwindEntry;
      out.detail = absl::StrFormat("the kernel's unwind table says nothing about %#x", frame.pc);
      return out;
    }
    if (entry->type == OrcType::kEndOfStack) {
      out.end = EndAt(frame.lookup_pc() - input.slide);
      return out;
    }
    if (!walk.Step(*entry, out)) return out;
  }
  out.end = StackEnd::kMaxFrames;
  out.detail = absl::StrCat("more than ", max_frames, " frames");
  return out;
}

}  // namespace watchsnap
