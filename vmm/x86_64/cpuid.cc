#include "vmm/x86_64/cpuid.h"

#include <algorithm>

#include "vmm/x86_64/cpuid_apic_id.h"

namespace watchsnap {
namespace {

constexpr uint32_t Bit(int bit) { return 1u << bit; }

// Leaf 1.
constexpr uint32_t kVmx = Bit(5), kPerfCapabilities = Bit(15), kX2Apic = Bit(21),
                   kTscDeadline = Bit(24), kHypervisor = Bit(31);  // ECX
constexpr uint32_t kHyperThreading = Bit(28);                      // EDX
// Leaf 7, subleaf 0.
constexpr uint32_t kSgx = Bit(2), kProcessorTrace = Bit(25);        // EBX
constexpr uint32_t kBusLockDetect = Bit(24), kSgxLaunch = Bit(30);  // ECX
constexpr uint32_t kArchLbr = Bit(19);                              // EDX
// Leaf 7, subleaf 1, EAX.
constexpr uint32_t kArchPerfmonExt = Bit(8), kFred = Bit(17);
// Leaf 0x80000001, ECX.
constexpr uint32_t kCmpLegacy = Bit(1), kSvm = Bit(2), kPerfCore = Bit(23), kPerfNb = Bit(24),
                   kTopologyExtensions = Bit(22), kPerfLlc = Bit(28);

// AMD's topology is in extended leaves, which a host may lack or KVM withhold (APM vol. 3, E.4).
constexpr uint32_t kAmdLastTopologyLeaf = 0x8000'001e;
// The first family whose LLCs a kernel tells by who shares them; before, by 0x8000001E's node.
constexpr uint32_t kFirstZenFamily = 0x17;
// Leaf 0x80000006, EDX: a third-level cache of 16 MiB, 16-way, with lines of 64 bytes.
constexpr uint32_t kAmdL3 = 32u << 18 | 8u << 12 | 1u << 8 | 64;

// What leaf 0x8000001D says of caches where the host's KVM says nothing.
struct AmdCache {
  uint32_t type, level, ways, sets;
};
constexpr AmdCache kAmdCaches[] = {
    {1, 1, 8, 64},      // 32 KiB of data
    {2, 1, 8, 64},      // 32 KiB of instructions
    {3, 2, 8, 1024},    // 512 KiB
    {3, 3, 16, 16384},  // 16 MiB
};

constexpr uint32_t kAmdVendorEbx = 0x6874'7541;    // "Auth"
constexpr uint32_t kHygonVendorEbx = 0x6f67'7948;  // "Hygo"

constexpr uint32_t kKvmSignatureLeaf = 0x4000'0000;
constexpr uint32_t kTimingLeaf = 0x4000'0010;
constexpr uint32_t kApicBusKhz = 1'000'000;  // KVM's local APIC timer counts nanoseconds

// Leaves rebuilt below, or of features taken away.
bool IsDropped(uint32_t function) {
  switch (function) {
    case 0x0b:  // topology
    case 0x1f:  // topology, second version
    case 0x12:  // SGX
    case 0x14:  // processor trace
    case 0x15:  // TSC and crystal clock
    case 0x1c:  // last branch records
    case 0x23:  // PMU, extended
    case kTimingLeaf:
    case 0x8000'000a:  // SVM
    case 0x8000'001f:  // memory encryption
    case 0x8000'0022:  // PMU
    case 0x8000'0026:  // topology
      return true;
    default:
      return false;
  }
}

// Family with the extended family (SDM vol. 2, CPUID, figure 3-6).
uint32_t FamilyOf(uint32_t signature) {
  const uint32_t family = signature >> 8 & 0xf;
  return family == 0xf ? family + (signature >> 20 & 0xff) : family;
}

class Builder {
 public:
  Builder(const CpuidOptions& options, int index)
      : options_(options),
        topology_(options.topology),
        shifts_(ShiftsOf(options.topology)),
        apic_id_(ApicId(options.topology, index)),
        node_(options.topology.node_of(index)),
        llc_(index / (options.topology.cores_per_llc * options.topology.threads_per_core)) {}

  std::vector<kvm_cpuid_entry2> Build(absl::Span<const kvm_cpuid_entry2> supported) {
    for (const kvm_cpuid_entry2& entry : supported) {
      if (entry.function == 0) {
        max_leaf_ = entry.eax;
        amd_ = entry.ebx == kAmdVendorEbx || entry.ebx == kHygonVendorEbx;
      } else if (entry.function == 1) {
        family_ = FamilyOf(entry.eax);
      } else if (entry.function == 0x8000'001d && (entry.eax & 0x1f) != 0) {
        has_amd_caches_ = true;
      }
    }
    for (const kvm_cpuid_entry2& entry : supported) {
      if (IsDropped(entry.function)) continue;
      if (amd_ && (entry.function == 0x8000'001e ||
                   (entry.function == 0x8000'001d && !has_amd_caches_))) {
        continue;  // added below
      }
      out_.push_back(entry);
      Adjust(&out_.back());
    }
    if (max_leaf_ >= 0x0b) AddTopology(0x0b);
    if (max_leaf_ >= 0x1f) AddTopology(0x1f);
    if (amd_) AddAmdTopology();
    if (options_.tsc_khz != 0) AddFrequencies();
    return std::move(out_);
  }

 private:
  void Adjust(kvm_cpuid_entry2* entry) const {
    const uint32_t cpus = static_cast<uint32_t>(topology_.vcpus_per_node());
    switch (entry->function) {
      case 1:
        // Brand index and CLFLUSH size stay; logical CPUs of the package; initial APIC ID.
        entry->ebx =
            (entry->ebx & 0xffff) | std::min(1u << shifts_.package, 255u) << 16 | apic_id_ << 24;
        entry->ecx &= ~(kVmx | kPerfCapabilities | kTscDeadline);
        entry->ecx |= kX2Apic | kHypervisor | (options_.tsc_deadline ? kTscDeadline : 0);
        entry->edx &= ~kHyperThreading;
        if (cpus > 1) entry->edx |= kHyperThreading;
        break;
      case 4:
        AdjustCache(entry);
        if ((entry->eax & 0x1f) != 0) {
          const uint32_t cores = std::min((1u << (shifts_.package - shifts_.core)) - 1, 63u);
          entry->eax = (entry->eax & ~0xfc00'0000) | cores << 26;
        }
        break;
      case 7:
        if (entry->index == 0) {
          entry->ebx &= ~(kSgx | kProcessorTrace);
          entry->ecx &= ~(kBusLockDetect | kSgxLaunch);
          entry->edx &= ~kArchLbr;
        } else if (entry->index == 1) {
          entry->eax &= ~(kFred | kArchPerfmonExt);
        }
        break;
      case 0x0a:
        entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
        break;
      case kKvmSignatureLeaf:
        if (options_.tsc_khz != 0) entry->eax = std::max(entry->eax, kTimingLeaf);
        break;
      case 0x8000'0000:
        if (amd_) entry->eax = std::max(entry->eax, kAmdLastTopologyLeaf);
        break;
      case 0x8000'0001:
        entry->ecx &= ~(kSvm | kPerfCore | kPerfNb | kPerfLlc | kCmpLegacy);
        if (amd_ && cpus > 1) entry->ecx |= kCmpLegacy;
        if (amd_) entry->ecx |= kTopologyExtensions;
        break;
      case 0x8000'0006:
        if (amd_ && entry->edx == 0) entry->edx = kAmdL3;
        break;
      case 0x8000'0008:
        if (amd_) {
          entry->ecx = (entry->ecx & ~0xf0ffu) | static_cast<uint32_t>(shifts_.package) << 12 |
                       std::min(cpus - 1, 255u);
        }
        break;
      case 0x8000'001d:
        AdjustCache(entry);
        break;
      default:
        break;
    }
  }

  // Leaves 4 and 0x8000001D: which CPUs share a cache, as a count of APIC IDs less one.
  void AdjustCache(kvm_cpuid_entry2* entry) const {
    if ((entry->eax & 0x1f) == 0) return;
    const uint32_t level = entry->eax >> 5 & 7;
    const uint32_t sharing = 1u << (level >= 3 ? shifts_.llc : shifts_.core);
    entry->eax = (entry->eax & ~0x03ff'c000u) | (sharing - 1) << 14;
  }

  void Add(uint32_t function, uint32_t index, uint32_t flags, uint32_t eax, uint32_t ebx,
           uint32_t ecx, uint32_t edx) {
    kvm_cpuid_entry2 entry = {};
    entry.function = function;
    entry.index = index;
    entry.flags = flags;
    entry.eax = eax;
    entry.ebx = ebx;
    entry.ecx = ecx;
    entry.edx = edx;
    out_.push_back(entry);
  }

  void AddTopology(uint32_t leaf) {
    constexpr uint32_t kThreadLevel = 1 << 8, kCoreLevel = 2 << 8;
    const uint32_t flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    Add(leaf, 0, flags, static_cast<uint32_t>(shifts_.core),
        static_cast<uint32_t>(topology_.threads_per_core), kThreadLevel, apic_id_);
    Add(leaf, 1, flags, static_cast<uint32_t>(shifts_.package),
        static_cast<uint32_t>(topology_.vcpus_per_node()), kCoreLevel | 1, apic_id_);
    Add(leaf, 2, flags, 0, 0, 2, apic_id_);
  }

  void AddAmdTopology() {
    if (!has_amd_caches_) {
      uint32_t index = 0;
      for (const AmdCache& cache : kAmdCaches) {
        kvm_cpuid_entry2 entry = {};
        entry.eax = cache.type | cache.level << 5 | Bit(8);  // self-initialising
        AdjustCache(&entry);
        Add(0x8000'001d, index++, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, entry.eax,
            (cache.ways - 1) << 22 | 63, cache.sets - 1, 0);
      }
      Add(0x8000'001d, index, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, 0, 0, 0, 0);
    }
    const uint32_t core = apic_id_ >> shifts_.core & 0xff;
    const uint32_t threads = static_cast<uint32_t>(topology_.threads_per_core - 1);
    const int node = family_ < kFirstZenFamily ? llc_ : node_;
    Add(0x8000'001e, 0, 0, apic_id_, core | threads << 8, static_cast<uint32_t>(node) & 0xff, 0);
  }

  void AddFrequencies() {
    // TSC = crystal * EBX / EAX, with the APIC bus as the crystal.
    if (max_leaf_ >= 0x15) {
      Add(0x15, 0, 0, kApicBusKhz, options_.tsc_khz, kApicBusKhz * 1000, 0);
    }
    Add(kTimingLeaf, 0, 0, options_.tsc_khz, kApicBusKhz, 0, 0);
  }

  const CpuidOptions& options_;
  const CpuTopology& topology_;
  const ApicIdShifts shifts_;
  const uint32_t apic_id_;
  const int node_;
  const int llc_;  // counted over all nodes
  uint32_t max_leaf_ = 0;
  uint32_t family_ = 0;
  bool amd_ = false;
  bool has_amd_caches_ = false;
  std::vector<kvm_cpuid_entry2> out_;
};

}  // namespace

std::vector<kvm_cpuid_entry2> GuestCpuid(absl::Span<const kvm_cpuid_entry2> supported,
                                         const CpuidOptions& options, int index) {
  return Builder(options, index).Build(supported);
}

}  // namespace watchsnap
