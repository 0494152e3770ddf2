// Ctrl-C: what is finished is in the store, so the program may end at once, wherever it is.
#pragma once

namespace fedclock::tools {

// From now on SIGINT and SIGTERM end the process, with exit codes 130 and 143, after saying that
// the same command goes on from there. To be called before other threads start.
void end_when_interrupted();

}  // namespace fedclock::tools
