// What would have worked: the names that are there, the nearest first. For error messages.
//
// Threads: pure functions.
#ifndef WATCHSNAP_SNAPSHOT_ACCESSOR_ALTERNATIVES_H_
#define WATCHSNAP_SNAPSHOT_ACCESSOR_ALTERNATIVES_H_

#include <string>
#include <string_view>
#include <vector>

namespace watchsnap {

// `did you mean 'pid'? Its members are: comm, cpu, pid, …`; `listed` is "its members are".
// Up to twenty names; how many more there are is said.
std::string Alternatives(std::string_view wanted, std::string_view listed,
                         const std::vector<std::string>& names);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_ACCESSOR_ALTERNATIVES_H_
