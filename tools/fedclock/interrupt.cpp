#include "tools/fedclock/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "tools/fedclock/say.h"

namespace fedclock::tools {

void end_when_interrupted() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // Threads that start later inherit the mask: only this one takes the signals.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    say("\ninterrupted: what is finished is in the store, if there is one; the same command goes "
        "on "
        "from there\n");
    _exit(128 + signal);  // as shells have it: 130 for Ctrl-C
  }).detach();
}

}  // namespace fedclock::tools
