// The program's exit codes, as CONTRACT and --help state them.
#ifndef WATCHSNAP_SNAPSHOT_CLI_EXIT_CODES_H_
#define WATCHSNAP_SNAPSHOT_CLI_EXIT_CODES_H_

namespace watchsnap {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;         // it ran, and a scenario or assertion failed
inline constexpr int kExitUsage = 2;
inline constexpr int kExitWatchRefused = 3;   // symbol, alignment, slots, host
inline constexpr int kExitHostCannot = 4;     // this host cannot run it
inline constexpr int kExitGuestFailed = 5;    // the guest did not boot, or ended badly

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_EXIT_CODES_H_
