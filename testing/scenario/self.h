// This very program: its file, its runfiles, and how to start it again.
//
// Threads: any, after Remember. Errors: empty results.
#ifndef WATCHSNAP_TESTING_SCENARIO_SELF_H_
#define WATCHSNAP_TESTING_SCENARIO_SELF_H_

#include <string>
#include <vector>

namespace watchsnap {

// Absolute path of the running program.
std::string SelfPath();

// Folders that hold the runfiles, under the names of their repositories; most particular first.
std::vector<std::string> RunfilesRoots();

// A shell line that runs this program again, with `gtest_filter`; `arguments` without argv[0].
std::string RunAgainLine(const std::vector<std::string>& arguments,
                         const std::string& gtest_filter);

// Where results go: TEST_UNDECLARED_OUTPUTS_DIR, or a folder in the temporary folder, named after
// the program and made if need be.
std::string OutputsFolder();

}  // namespace watchsnap

#endif  // WATCHSNAP_TESTING_SCENARIO_SELF_H_
