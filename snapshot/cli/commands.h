// The program's commands. Each takes its arguments (without the command's own name) and returns an exit
// code (exit_codes.h). Output for the user goes to stdout, what is wrong to stderr.
#ifndef WATCHSNAP_SNAPSHOT_CLI_COMMANDS_H_
#define WATCHSNAP_SNAPSHOT_CLI_COMMANDS_H_

#include <string>
#include <vector>

#include "snapshot/cli/emulated_host.h"

namespace watchsnap {

using Arguments = std::vector<std::string>;

int RunCommand(const Arguments& arguments, const EmulatedHost& emulated_host);
int DoctorCommand(const Arguments& arguments, const EmulatedHost& emulated_host);
int SymbolsCommand(const Arguments& arguments);
int InspectCommand(const Arguments& arguments);
int DiffCommand(const Arguments& arguments);

// Dispatches on argv[1]; `--help`, `--version` and mistakes included.
int WatchsnapMain(int argc, char** argv, const EmulatedHost& emulated_host);

}  // namespace watchsnap

#endif  // WATCHSNAP_SNAPSHOT_CLI_COMMANDS_H_
