// ChildProcess: a program whose output a test reads while it runs.
//
//   ChildProcess run({"/bin/watchsnap", "run", …});
//   ASSERT_TRUE(run.WaitFor("watch armed", absl::Minutes(1))) << run.output();
//   run.Terminate();
//   EXPECT_EQ(run.Wait(), 0);
//
// Output is stdout and stderr, as they come. Threads: one, besides the reader's own. Ownership: the
// destructor kills and reaps it. Errors: a program that cannot be started exits with 127.
#ifndef WATCHSNAP_TESTING_GDB_CHILD_PROCESS_H_
#define WATCHSNAP_TESTING_GDB_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace watchsnap {

class ChildProcess {
 public:
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();

  // Until the output holds `text` at least `times` times; false if time passes or the output ends first.
  bool WaitFor(std::string_view text, absl::Duration timeout, int times = 1);
  int Count(std::string_view text) const;
  std::string output() const;

  void Terminate();  // SIGTERM
  // The exit code, or 128 + signal. Waits for the end of its output.
  int Wait();

 private:
  pid_t pid_ = -1;
  int status_ = -1;  // once reaped
  std::thread reader_;
  mutable absl::Mutex mutex_;
  std::string output_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_GDB_CHILD_PROCESS_H_
