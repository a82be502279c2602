// Runs a command of this machine in an emulated machine whose /dev/kvm delivers hardware
// watchpoints.
//
// The machine is QEMU emulating an AMD processor with SVM, and Linux's own kvm_amd in it. It has
// this machine's file tree, read-only but for the folders named; /tmp and /var/tmp can be written
// but what is written there is lost. The command runs as root, without network and with /dev/null
// as its input. Starting it costs a few seconds, and everything in it runs some ten times slower.
//
//   if (!InsideKvmHost()) {
//     KvmHostOptions options;
//     options.argv = {"/proc/self/exe", …};  // relative paths are relative to `working_dir`
//     return RunInKvmHost(options);
//   }
//
// Threads: call it from the main thread before others are started; it blocks until the command has
// ended. It installs no signal handler: while it runs, SIGINT, SIGTERM, SIGHUP and SIGQUIT are
// blocked in the calling thread, read from a signalfd and handed to the command's process group. A
// second one, or a command that has not ended 10 s after the first, ends the machine.
//
// QEMU, kernel and initramfs come from the program's runfiles: the binary's target needs a
// dependency on this library, nothing more.
#ifndef WATCHSNAP_TESTING_KVM_HOST_LAUNCHER_H_
#define WATCHSNAP_TESTING_KVM_HOST_LAUNCHER_H_

#include "absl/status/statusor.h"
#include "testing/kvm_host/options.h"

namespace watchsnap {

// Whether this process runs in such a machine already.
bool InsideKvmHost();

// Runs the command with its output copied to this process's stdout and stderr as it comes, and
// returns its exit code (128 + signal for a killed one).
//
// Passed in besides `env`: PATH, HOME, USER, LANG, LC_*, TZ and all of TEST_*, TESTBRIDGE_*,
// XML_OUTPUT_FILE, RUNFILES_*, JAVA_RUNFILES, PYTHON_RUNFILES, GTEST_*, BUILD_*, BENCHMARK_*,
// WATCHSNAP_* and *SAN_OPTIONS; WATCHSNAP_INSIDE_KVM_HOST=1 is added. Writable besides `writable`:
// TEST_TMPDIR, TEST_UNDECLARED_OUTPUTS_DIR and the folders of the files that Bazel tells a test to
// write.
//
// InvalidArgument: the options make no sense. NotFound: parts of the machine are not in the
// runfiles. DeadlineExceeded: past `timeout`. Unavailable: the machine did not come up or ended
// without an answer; the message holds its last words.
absl::StatusOr<int> RunInKvmHost(const KvmHostOptions& options);

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_KVM_HOST_LAUNCHER_H_
