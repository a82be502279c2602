#include "snapshot/capture/kernel_view.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "debug/symbols/kernel_identity.h"
#include "debug/symbols/x86_64/idt.h"
#include "debug/types/btf_reader.h"

namespace watchsnap {
namespace {

// Where the processor keeps the 64-bit system call entry: SDM vol. 4, IA32_LSTAR.
constexpr uint32_t kMsrLstar = 0xc000'0082;

PagingState PagingOf(const VcpuRegisters& registers) {
  return {.cr0 = registers.sregs.cr0,
          .cr3 = registers.sregs.cr3,
          .cr4 = registers.sregs.cr4,
          .efer = registers.sregs.efer};
}

// The symbols own the file.
std::shared_ptr<const ElfFile> FileOf(const std::shared_ptr<const KernelSymbols>& symbols) {
  return std::shared_ptr<const ElfFile>(symbols, &symbols->elf());
}

}  // namespace

KernelView::KernelView(std::shared_ptr<const KernelSymbols> symbols, const GuestMemory* memory)
    : symbols_(std::move(symbols)),
      memory_(memory),
      lines_(SourceLines::Open(symbols_->path())),
      types_(ReadBtfOfElf(FileOf(symbols_))),
      dwarf_types_(DwarfTypes::Open(FileOf(symbols_))) {}

absl::StatusOr<std::unique_ptr<KernelView>> KernelView::Create(
    std::shared_ptr<const KernelSymbols> symbols, Machine& machine) {
  auto view =
      std::unique_ptr<KernelView>(new KernelView(std::move(symbols), &machine.memory()));
  absl::StatusOr<FrozenVcpus> frozen = machine.Freeze(absl::Seconds(5));
  if (!frozen.ok()) return frozen.status();
  const VcpuRegisters& registers = machine.vcpu(0).registers();
  view->paging_ = PagingOf(registers);
  const auto read = [&view](uint64_t kva, absl::Span<uint8_t> out) {
    return view->Read(kva, out);
  };

  KaslrEvidence evidence;
  absl::Status status = machine.RunOnVcpu(0, [&evidence](Vcpu& vcpu) {
    absl::StatusOr<uint64_t> lstar = vcpu.ReadMsr(kMsrLstar);
    if (!lstar.ok()) return lstar.status();
    evidence.syscall_entry = *lstar;
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<ExceptionGate>> gates =
      ReadIdtGates(registers.sregs.idt.base, registers.sregs.idt.limit, read);
  if (gates.ok()) evidence.gates = *std::move(gates);

  absl::StatusOr<KaslrSlide> slide = MeasureSlide(*view->symbols_, evidence);
  if (!slide.ok()) return slide.status();
  view->slide_ = slide->value;
  view->slide_source_ = slide->source;
  status = VerifyBuildId(*view->symbols_, view->slide_, read);
  if (!status.ok()) return status;

  // From here on read by the kernel's own tables: those of the process that ran just now will go.
  absl::StatusOr<uint64_t> top = view->symbols_->AddressOf("init_top_pgt");
  if (top.ok()) {
    std::optional<Translation> translation =
        TranslateVirtual(machine.memory(), view->paging_, *top + view->slide_);
    if (translation.has_value()) view->paging_.cr3 = translation->gpa;
  }
  frozen->Thaw();
  view->stacks_status_ = view->PrepareStacks(machine.vcpu_count());
  return view;
}

absl::Status KernelView::PrepareStacks(int vcpus) {
  absl::StatusOr<StackExtents> extents = StackExtents::Create(
      *symbols_, slide_, [this](uint64_t kva, absl::Span<uint8_t> out) { return Read(kva, out); },
      vcpus);
  if (!extents.ok()) return extents.status();
  extents_ = *std::move(extents);
  absl::StatusOr<std::unique_ptr<StackRenderer>> stacks =
      StackRenderer::Create(symbols_, slide_);
  if (!stacks.ok()) return stacks.status();
  stacks_ = *std::move(stacks);
  return absl::OkStatus();
}

absl::StatusOr<RenderedStack> KernelView::Stack(const VcpuRegisters& registers,
                                                const StackCopy& copy) const {
  if (!stacks_status_.ok()) return stacks_status_;
  return stacks_->Render(registers, copy);
}

absl::Status KernelView::Read(uint64_t kva, absl::Span<uint8_t> out) const {
  return ReadVirtual(*memory_, paging_, kva, out);
}

std::optional<TextSymbol> KernelView::Symbolize(uint64_t address) const {
  std::optional<TextSymbol> symbol = symbols_->Symbolize(address - slide_);
  if (symbol.has_value()) symbol->address += slide_;
  return symbol;
}

absl::StatusOr<std::vector<SourceFrame>> KernelView::Lines(uint64_t address) const {
  if (!lines_.ok()) return lines_.status();
  return (*lines_)->Find(address - slide_);
}

absl::StatusOr<uint32_t> KernelView::ReadU32(std::string_view name) const {
  absl::StatusOr<uint64_t> address = AddressOf(name);
  if (!address.ok()) return address.status();
  uint32_t value = 0;
  absl::Status status =
      Read(*address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof value));
  if (!status.ok()) return status;
  return value;
}

absl::StatusOr<uint64_t> KernelView::AddressOf(std::string_view name) const {
  absl::StatusOr<uint64_t> address = symbols_->AddressOf(name);
  if (!address.ok()) return address.status();
  return *address + slide_;
}

}  // namespace watchsnap
