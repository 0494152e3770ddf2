// Commands run side by side in processes of their own, each with a pipe for its events and a file
// for what it prints.
#pragma once

#include <sys/types.h>

#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fedclock::tools {

struct ChildCommand {
  std::vector<std::string> arguments;  // of this program; "--events 3" tells it where to write
  std::filesystem::path log;           // standard output and error
};

struct ChildObserver {
  std::function<void(size_t command)> started;
  std::function<void(size_t command, const std::string& line)> event;
  // A signal: 128 and its number. `why`: empty, or why it could not start.
  std::function<void(size_t command, int exit_code, const std::string& why)> ended;
};

// Runs all commands, in order, at most `side_by_side` at a time. They end when this process does.
// One whose log cannot be written, or that cannot start, has ended with code 2 or 1; the others
// run.
void run_children(const std::vector<ChildCommand>& commands, int side_by_side,
                  const ChildObserver& observer);

}  // namespace fedclock::tools
