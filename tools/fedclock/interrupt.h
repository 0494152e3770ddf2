// Ctrl-C: what is finished is in the store, so the program may end at once, wherever it is.
#pragma once

#include <functional>

namespace fedclock::tools {

// From now on SIGINT and SIGTERM end the process with exit code 130, after `farewell`, which runs
// on a thread of its own. To be called before other threads start.
void end_when_interrupted(std::function<void()> farewell);

}  // namespace fedclock::tools
