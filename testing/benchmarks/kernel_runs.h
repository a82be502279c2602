// Figures of whole runs of the stock kernel: the program `watchsnap`, QEMU and gdb as their users start them,
// each in a process of its own.
//
// Threads: one. Errors: a figure that was not measured, with the reason.
#ifndef WATCHSNAP_TESTING_BENCHMARKS_KERNEL_RUNS_H_
#define WATCHSNAP_TESTING_BENCHMARKS_KERNEL_RUNS_H_

#include <string>
#include <vector>

#include "testing/benchmarks/figures.h"

namespace watchsnap {

// Of both sides of the boot rows. As the product's own, it leaves out the self-tests of the kernel's cryptography.
inline constexpr char kBenchmarkCommandLine[] = "console=ttyS0 panic=-1 quiet cryptomgr.notests";

struct KernelFiles {
  std::string watchsnap;   // the program
  std::string vmlinux;
  std::string image;       // bzImage of the same build
  std::string busy_guest;  // busy_guest.cc
  std::string qemu_dir;    // with bin/, lib/ and share/; empty: there is none
  std::string scratch;     // a folder to write to
};

// Progress of a guest that is busy on all its vCPUs, in wall time, with jiffies_64 watched and each write captured,
// against the same unwatched, in so many turns each; on one vCPU also the memory of the VMM.
std::vector<Figure> MeasureProgress(const KernelFiles& files, int vcpus, int turns);

// To the first process: ours from bzImage and from vmlinux, against QEMU's microvm from bzImage.
std::vector<Figure> MeasureBoot(const KernelFiles& files, int rounds);

// gdb's watch on QEMU's stub that only counts, against our captured hits.
Figure MeasureGdb(const KernelFiles& files);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_BENCHMARKS_KERNEL_RUNS_H_
