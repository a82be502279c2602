#include "debug/page_watch/page_watch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <optional>

#include "absl/log/log.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/decode/store_operands.h"
#include "debug/decode/store_shape.h"

namespace watchsnap {
namespace {

constexpr uint64_t kPageSize = WatchTable::kPageSize;
constexpr uint8_t kInvalidOpcode = 6;  // the exception's vector (SDM vol. 3A, table 6-1)
constexpr int kFaultsOfNobody = 3;
constexpr uint64_t kDirectionFlag = 1u << 10;  // of RFLAGS

absl::Status Validate(const WatchSpec& spec) {
  if (spec.length == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("page_watch cannot watch 0 bytes ('%s' at %#x)", spec.tag, spec.address));
  }
  if (spec.address + (spec.length - 1) < spec.address) {
    return absl::InvalidArgumentError(
        absl::StrFormat("page_watch cannot watch %d bytes at %#x ('%s'): they reach beyond the last "
                        "address",
                        spec.length, spec.address, spec.tag));
  }
  return absl::OkStatus();
}

// As the guest's own store would be: at once, where it is aligned.
void Store(uint8_t* host, absl::Span<const uint8_t> data) {
  if (reinterpret_cast<uintptr_t>(host) % data.size() == 0) {
    const auto store = [&]<typename T>(T value) {
      std::memcpy(&value, data.data(), sizeof value);
      __atomic_store_n(reinterpret_cast<T*>(host), value, __ATOMIC_RELEASE);
    };
    switch (data.size()) {
      case 1: return store(uint8_t{});
      case 2: return store(uint16_t{});
      case 4: return store(uint32_t{});
      case 8: return store(uint64_t{});
      default: break;
    }
  }
  std::memcpy(host, data.data(), data.size());
}

}  // namespace

PageWatch::PageWatch(DebugTarget& target, PageWay way, HostWorks host_works)
    : target_(target),
      way_(way),
      host_works_(std::move(host_works)),
      table_(target.vcpu_count()),
      faults_of_nobody_(target.vcpu_count()),
      last_store_(target.vcpu_count()) {}

DebugCapabilities PageWatch::Capabilities() const {
  return {.user_watches = kUnlimitedWatches,
          .has_reserved_slot = false,
          .lengths = "any length, at any address",
          .cost = way_ == PageWay::kReadOnlyMemslots
                      ? "one exit for every store to a page that holds a watch; several vCPUs: a "
                        "fault, a freeze of the others and a native single step for each"
                      : "for every store to a page that holds a watch a fault, a freeze of the other "
                        "vCPUs and a native single step",
          .any_length = true};
}

absl::StatusOr<std::vector<WatchTable::Piece>> PageWatch::FindPieces(const WatchSpec& spec) {
  std::optional<uint64_t> missing;
  // Kernel addresses look the same from every vCPU that has its paging on; not all may have.
  for (int vcpu = 0; vcpu < target_.vcpu_count(); ++vcpu) {
    std::vector<WatchTable::Piece> pieces;
    uint32_t done = 0;
    while (done < spec.length) {
      const uint64_t kva = spec.address + done;
      WatchTable::Piece piece = {
          .length = static_cast<uint32_t>(
              std::min<uint64_t>(spec.length - done, kPageSize - kva % kPageSize)),
          .offset = done};
      const std::optional<uint64_t> gpa = target_.GuestPhysical(vcpu, kva);
      if (gpa.has_value()) piece.host = target_.HostOfPhysical(*gpa, piece.length);
      if (piece.host == nullptr) {
        if (!missing.has_value()) missing = kva;
        break;
      }
      piece.gpa = *gpa;
      done += piece.length;
      pieces.push_back(piece);
    }
    if (done == spec.length) return pieces;
  }
  return absl::NotFoundError(absl::StrFormat(
      "the guest has no RAM mapped at %#x now, as its page tables stand, so there is no page to "
      "protect for the %d bytes at %#x; arm it once the guest has mapped that address",
      missing.value_or(spec.address), spec.length, spec.address));
}

absl::Status PageWatch::SetProtection(absl::Span<const uint64_t> pages, bool on) {
  if (way_ == PageWay::kHostProtection) return target_.SetHostProtected(pages, on);
  return target_.SetReadOnlyPages(on ? absl::MakeConstSpan(protected_)
                                     : absl::Span<const uint64_t>());
}

absl::Status PageWatch::Protect(const std::vector<uint64_t>& wanted) {
  if (way_ == PageWay::kReadOnlyMemslots) {
    if (wanted == protected_) return absl::OkStatus();
    absl::Status status = target_.SetReadOnlyPages(wanted);
    if (status.ok()) protected_ = wanted;
    return status;
  }
  std::vector<uint64_t> added, removed;
  std::set_difference(wanted.begin(), wanted.end(), protected_.begin(), protected_.end(),
                      std::back_inserter(added));
  std::set_difference(protected_.begin(), protected_.end(), wanted.begin(), wanted.end(),
                      std::back_inserter(removed));
  absl::Status status = target_.SetHostProtected(added, true);
  if (!status.ok()) return status;
  status = target_.SetHostProtected(removed, false);
  if (!status.ok()) {
    (void)target_.SetHostProtected(added, false);
    (void)target_.SetHostProtected(removed, true);
    return status;
  }
  protected_ = wanted;
  return status;
}

absl::Status PageWatch::Replace(WatchId watch, const WatchSpec& spec) {
  absl::StatusOr<std::vector<WatchTable::Piece>> pieces = FindPieces(spec);
  if (!pieces.ok()) return pieces.status();
  std::vector<uint64_t> wanted;
  {
    absl::MutexLock lock(&mutex_);
    wanted = table_.Pages(watch, *pieces);
  }
  absl::Status status = Protect(wanted);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  table_.Remove(watch);
  table_.Add({.id = watch, .spec = spec, .pieces = *std::move(pieces)});
  return absl::OkStatus();
}

absl::StatusOr<WatchId> PageWatch::Arm(const WatchSpec& spec) {
  absl::MutexLock lock(&arm_mutex_);
  absl::Status status = Validate(spec);
  if (!status.ok()) return status;
  if (!known_to_work_) {
    status = host_works_(way_);
    if (!status.ok()) return status;
    known_to_work_ = true;
  }
  {
    absl::MutexLock table_lock(&mutex_);
    if (const WatchTable::Watch* other = table_.Overlapping(spec); other != nullptr) {
      return absl::AlreadyExistsError(absl::StrFormat(
          "the watch '%s' (%d bytes at %#x) would overlap the watch '%s' (%d bytes at %#x); watch one "
          "of them, or disarm '%s' first",
          spec.tag, spec.length, spec.address, other->spec.tag, other->spec.length,
          other->spec.address, other->spec.tag));
    }
  }
  const WatchId watch = next_watch_;
  status = target_.WhileFrozen([&] { return Replace(watch, spec); });
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("arming a watch on '", spec.tag,
                                     "' failed, nothing is armed for it: ", status.message()));
  }
  ++next_watch_;
  return watch;
}

absl::Status PageWatch::Disarm(WatchId watch) {
  absl::MutexLock lock(&arm_mutex_);
  return target_.WhileFrozen([&]() -> absl::Status {
    std::vector<uint64_t> wanted;
    {
      absl::MutexLock table_lock(&mutex_);
      const WatchTable::Watch* gone = table_.Find(watch);
      if (gone == nullptr) {
        return absl::NotFoundError(absl::StrCat("page_watch has no watch ", watch, " to disarm"));
      }
      if (std::string line = MovedElsewhere(*gone); !line.empty()) moved_.push_back(line);
      table_.Remove(watch);
      wanted = table_.Pages();
    }
    return Protect(wanted);
  });
}

absl::Status PageWatch::Retarget(WatchId watch, uint64_t address, uint32_t length) {
  // Not arm_mutex_: an Arm that waits for the caller's freeze to end may hold it. Whoever changes
  // pages holds a freeze, so this one is alone.
  WatchSpec spec;
  {
    absl::MutexLock lock(&mutex_);
    const WatchTable::Watch* moved = table_.Find(watch);
    if (moved == nullptr) {
      return absl::NotFoundError(absl::StrCat("page_watch has no watch ", watch, " to move"));
    }
    spec = moved->spec;
  }
  spec.address = address;
  spec.length = length;
  absl::Status status = Validate(spec);
  if (!status.ok()) return status;
  return Replace(watch, spec);
}

void PageWatch::OnExit(int vcpu, const kvm_debug_exit_arch& exit, WatchHits& hits) {
  hits.count = 0;
  LOG_FIRST_N(WARNING, 1) << "vCPU " << vcpu << ": a debug exit at pc " << std::hex << exit.pc
                          << ", but page_watch asks for none; dropped";
}

MmioAnswer PageWatch::OnMmio(int vcpu, uint64_t gpa, absl::Span<uint8_t> data, bool is_write) {
  uint8_t* host = target_.HostOfPhysical(gpa, data.size());
  if (host == nullptr) return MmioAnswer::kNotMine;  // a device
  if (!is_write) {
    std::memcpy(data.data(), host, data.size());
    return MmioAnswer::kServed;
  }
  emulated_.fetch_add(1, std::memory_order_relaxed);
  last_store_[vcpu] = {.gpa = gpa, .bytes = static_cast<uint32_t>(data.size())};
  const bool traced = target_.GuestTraces(vcpu);
  absl::MutexLock lock(&mutex_);
  const bool hit = table_.NoteStore(vcpu, gpa, static_cast<uint32_t>(data.size()));
  Store(host, data);
  return hit || traced ? MmioAnswer::kServedTellWhenComplete : MmioAnswer::kServed;
}

uint8_t PageWatch::LengthOfRepeatedStoreAt(int vcpu, const LastStore& store) {
  const VcpuRegisters& registers = target_.Registers(vcpu);
  std::array<uint8_t, kMaxInstructionLength> text;
  const size_t read = ReadText(vcpu, registers.pc(), absl::MakeSpan(text));
  const std::optional<StoreShape> shape =
      DecodeStoreShape(absl::MakeConstSpan(text.data(), read), registers.pc());
  if (!shape.has_value() || !shape->rep) return 0;
  const bool downwards = (registers.regs.rflags & kDirectionFlag) != 0;
  const uint64_t stored_at =
      downwards ? registers.regs.rdi + shape->store_bytes : registers.regs.rdi - shape->store_bytes;
  const std::optional<uint64_t> gpa = target_.GuestPhysical(vcpu, stored_at);
  // Of several exits of one iteration the last is compared.
  return gpa.has_value() && *gpa <= store.gpa && store.gpa + store.bytes <= *gpa + shape->store_bytes
             ? shape->length
             : 0;
}

void PageWatch::OnMmioComplete(int vcpu, WatchHits& hits) {
  target_.SaveRegisters(vcpu);
  const VcpuRegisters& registers = target_.Registers(vcpu);
  uint64_t writer_pc = 0;
  uint64_t next_pc = registers.pc();
  if (target_.GuestTraces(vcpu)) {
    const absl::Status given = target_.GiveTrace(vcpu);
    LOG_IF(ERROR, !given.ok()) << "vCPU " << vcpu << ": a single step of the guest's own was lost: "
                               << given;
  }
  // KVM comes out of a repeated store after each iteration, at the instruction itself, and of the last
  // one too.
  if (const uint8_t length = LengthOfRepeatedStoreAt(vcpu, last_store_[vcpu]); length != 0) {
    writer_pc = registers.pc();
    if (registers.regs.rcx == 0) next_pc += length;
  }
  absl::MutexLock lock(&mutex_);
  table_.MakeHits(vcpu, writer_pc, next_pc, /*only_changed=*/false);
  table_.TakeHits(vcpu, hits);
}

void PageWatch::MoreHits(int vcpu, WatchHits& hits) {
  absl::MutexLock lock(&mutex_);
  table_.TakeHits(vcpu, hits);
}

size_t PageWatch::ReadText(int vcpu, uint64_t pc, absl::Span<uint8_t> text) {
  size_t done = 0;
  while (done < text.size()) {
    const size_t length =
        std::min<size_t>(text.size() - done, kPageSize - (pc + done) % kPageSize);
    const std::optional<uint64_t> gpa = target_.GuestPhysical(vcpu, pc + done);
    const uint8_t* host = gpa.has_value() ? target_.HostOfPhysical(*gpa, length) : nullptr;
    if (host == nullptr) break;
    std::memcpy(text.data() + done, host, length);
    done += length;
  }
  return done;
}

struct PageWatch::Expectation {
  uint64_t pc = 0;
  std::optional<StoreOperands> stores;
  // Protected pages that it stores to; none: not known.
  std::array<uint64_t, 8> pages;
  size_t page_count = 0;
};

void PageWatch::Expect(int vcpu, Expectation& expectation) {
  const VcpuRegisters& registers = target_.Registers(vcpu);
  expectation.pc = registers.pc();
  std::array<uint8_t, kMaxInstructionLength> text;
  const size_t length = ReadText(vcpu, expectation.pc, absl::MakeSpan(text));
  expectation.stores = DecodeStoreOperands(absl::MakeConstSpan(text.data(), length), registers);
  absl::MutexLock lock(&mutex_);
  table_.Forget(vcpu);
  if (expectation.stores.has_value()) {
    for (const StoreOperands::Operand& store : expectation.stores->all()) {
      for (uint64_t done = 0; done < store.bytes;) {
        const uint64_t kva = store.address + done;
        const uint64_t part = std::min(store.bytes - done, kPageSize - kva % kPageSize);
        done += part;
        const std::optional<uint64_t> gpa = target_.GuestPhysical(vcpu, kva);
        if (!gpa.has_value()) continue;
        const uint64_t page = *gpa - *gpa % kPageSize;
        if (!std::binary_search(protected_.begin(), protected_.end(), page)) continue;
        table_.NoteStore(vcpu, *gpa, static_cast<uint32_t>(part));
        if (expectation.page_count < expectation.pages.size()) {
          expectation.pages[expectation.page_count++] = page;
        }
      }
    }
  }
  // Nothing that it is known to write is protected: it is something else that wants to be written, as
  // when an exception is delivered to a stack.
  if (expectation.page_count == 0) {
    expectation.stores.reset();
    table_.NoteUnknownStore(vcpu);
  }
}

absl::Status PageWatch::StepOver(int vcpu) {
  Expectation expected;
  Expect(vcpu, expected);
  const auto step_with = [&](absl::Span<const uint64_t> pages) -> absl::StatusOr<StepEnd> {
    absl::Status status = SetProtection(pages, false);
    if (!status.ok()) return status;
    absl::StatusOr<StepEnd> end = target_.Step(vcpu);
    status = SetProtection(pages, true);
    if (!status.ok()) return status;
    return end;
  };
  absl::StatusOr<StepEnd> end = StepEnd::kMemoryFault;
  if (expected.page_count > 0) {
    end = step_with(absl::MakeConstSpan(expected.pages.data(), expected.page_count));
  }
  if (end.ok() && *end == StepEnd::kMemoryFault) end = step_with(protected_);
  uint64_t next_pc = target_.Registers(vcpu).pc();
  absl::MutexLock lock(&mutex_);
  if (!end.ok() || *end != StepEnd::kStepped) {
    table_.Forget(vcpu);
    if (!end.ok()) return end.status();
    return absl::FailedPreconditionError(
        *end == StepEnd::kMemoryFault
            ? "it failed with EFAULT although no page was protected"
            : "a single step with the page writable ended in an exit of another kind");
  }
  stepped_.fetch_add(1, std::memory_order_relaxed);
  // A step that ends elsewhere may have delivered an exception instead.
  const bool done = !expected.stores.has_value() || expected.stores->transfers ||
                    next_pc == expected.pc + expected.stores->length ||
                    (expected.stores->rep && next_pc == expected.pc);
  // A repeated store that has just done its last iteration still stands there.
  if (expected.stores.has_value() && expected.stores->rep && next_pc == expected.pc &&
      target_.Registers(vcpu).regs.rcx == 0) {
    next_pc += expected.stores->length;
  }
  table_.MakeHits(vcpu, expected.pc, next_pc, /*only_changed=*/!done);
  return absl::OkStatus();
}

bool PageWatch::OnMemoryFault(int vcpu, WatchHits& hits) {
  hits.count = 0;
  bool ours = false;
  const absl::Status status = target_.LeadFrozen(vcpu, [&]() -> absl::Status {
    ours = !protected_.empty();
    return ours ? StepOver(vcpu) : absl::OkStatus();
  });
  if (!status.ok()) {
    LOG(ERROR) << "vCPU " << vcpu << ": page_watch could not step over a store at "
               << InstructionAt(vcpu, target_.Registers(vcpu).pc()) << ": " << status;
    return false;
  }
  // Disarmed while this vCPU waited for its turn: the store goes through now, unless it was never us.
  if (!ours) return ++faults_of_nobody_[vcpu] < kFaultsOfNobody;
  faults_of_nobody_[vcpu] = 0;
  MoreHits(vcpu, hits);
  return true;
}

bool PageWatch::OnInternalError(int vcpu, WatchHits& hits, std::string& explanation) {
  hits.count = 0;
  target_.SaveRegisters(vcpu);
  const uint64_t pc = target_.Registers(vcpu).pc();
  bool ours = false;
  const absl::Status status = target_.LeadFrozen(vcpu, [&]() -> absl::Status {
    ours = !protected_.empty();
    if (!ours) return absl::FailedPreconditionError("nothing is watched");
    // KVM has decided that the instruction is none.
    absl::Status dropped = target_.DropQueuedException(vcpu, kInvalidOpcode);
    return dropped.ok() ? StepOver(vcpu) : dropped;
  });
  if (status.ok()) {
    MoreHits(vcpu, hits);
    return true;
  }
  if (ours) {
    explanation = absl::StrCat(
        "page_watch: while pages are watched KVM must emulate stores to them, and could not emulate ",
        InstructionAt(vcpu, pc), "; stepping it natively did not go either: ", status.message(),
        ". Watch something in another page, or use hw_watch on a host that delivers watchpoints");
  }
  return false;
}

std::string PageWatch::InstructionAt(int vcpu, uint64_t pc) {
  std::array<uint8_t, kMaxInstructionLength> text;
  const size_t read = ReadText(vcpu, pc, absl::MakeSpan(text));
  const auto bytes = absl::MakeConstSpan(text.data(), read);
  const size_t length = InstructionLength(bytes);
  const auto shown = bytes.subspan(0, length != 0 ? length : read);
  return absl::StrFormat(
      "the instruction at %#x (bytes %s: %s)", pc,
      absl::BytesToHexString(
          std::string_view(reinterpret_cast<const char*>(shown.data()), shown.size())),
      DescribeInstruction(shown, pc));
}

std::string PageWatch::MovedElsewhere(const WatchTable::Watch& watch) {
  bool mapped = false;  // not at all: perhaps only by tables that no vCPU uses now
  for (int vcpu = 0; vcpu < target_.vcpu_count(); ++vcpu) {
    const std::optional<uint64_t> gpa = target_.GuestPhysical(vcpu, watch.spec.address);
    if (!gpa.has_value()) continue;
    mapped = true;
    if (*gpa == watch.pieces[0].gpa) return "";
  }
  if (!mapped) return "";
  return absl::StrFormat(
      "'%s' was watched at physical address %#x, where it was when it was armed; the guest "
      "has mapped its address elsewhere since, and stores there were not seen",
      watch.spec.tag, watch.pieces[0].gpa);
}

std::vector<std::string> PageWatch::Summary() {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> lines = moved_;
  for (const WatchTable::Watch& watch : table_.watches()) {
    if (std::string line = MovedElsewhere(watch); !line.empty()) lines.push_back(line);
  }
  lines.push_back(absl::StrCat("stores to pages with watches: ", emulated_.load(),
                               " exits (emulated), ", stepped_.load(), " stepped natively"));
  return lines;
}

}  // namespace watchsnap
