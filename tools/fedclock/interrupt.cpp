#include "tools/fedclock/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

namespace fedclock::tools {

void end_when_interrupted(std::function<void()> farewell) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // Threads that start later inherit the mask: only this one takes the signals.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals, farewell = std::move(farewell)] {
    int signal = 0;
    sigwait(&signals, &signal);
    farewell();
    _exit(128 + signal);  // as shells have it: 130 for Ctrl-C
  }).detach();
}

}  // namespace fedclock::tools
