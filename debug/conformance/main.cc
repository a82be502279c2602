// The suite's main: which plugin, on how many vCPUs.
//
//   my_conformance --plugin=my_plugin --vcpus=2 [GoogleTest's own flags]
#include <iostream>
#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "debug/conformance/harness.h"
#include "debug/registry.h"
#include "gtest/gtest.h"

int main(int argc, char** argv) {
  using watchsnap::conformance::TheSubject;
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    constexpr std::string_view kPlugin = "--plugin=", kVcpus = "--vcpus=";
    if (argument.starts_with(kPlugin)) {
      TheSubject().plugin = std::string(argument.substr(kPlugin.size()));
    } else if (!argument.starts_with(kVcpus) ||
               !absl::SimpleAtoi(argument.substr(kVcpus.size()), &TheSubject().vcpus) ||
               TheSubject().vcpus < 1) {
      std::cerr << "no such option: " << argument
                << "; there are --plugin=NAME, --vcpus=N and GoogleTest's\n";
      return 2;
    }
  }
  if (TheSubject().plugin.empty()) {
    std::cerr << "--plugin=NAME is wanted; linked in are: "
              << absl::StrJoin(watchsnap::DebugDeviceNames(), ", ") << "\n";
    return 2;
  }
  return RUN_ALL_TESTS();
}
