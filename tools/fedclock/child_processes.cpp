#include "tools/fedclock/child_processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "models/common/error.h"

namespace fedclock::tools {

namespace {

constexpr int kEvents = 3;  // the child's file descriptor

struct Child {
  size_t command = 0;
  pid_t process = 0;
  int events = -1;
  std::string unfinished_line;
};

// In the child: never returns.
[[noreturn]] void become(const ChildCommand& command, int log, int events) {
  // Signals were left to one thread of the parent; the child takes them itself, and goes with it.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (events == kEvents) {
    fcntl(events, F_SETFD, 0);
  } else {
    dup2(events, kEvents);
  }
  std::vector<char*> arguments = {const_cast<char*>("fedclock")};
  for (const std::string& argument : command.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execv("/proc/self/exe", arguments.data());
  _exit(127);
}

Child start(const ChildCommand& command, size_t number) {
  const int log = open(command.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (log < 0) {
    throw InputError(command.log.string() + ": cannot be written: " + std::strerror(errno));
  }
  std::array<int, 2> pipe_ends{};
  const bool piped = pipe2(pipe_ends.data(), O_CLOEXEC) == 0;
  const pid_t process = piped ? fork() : -1;
  if (process == 0) become(command, log, pipe_ends[1]);
  close(log);
  if (piped) close(pipe_ends[1]);
  if (process < 0) {
    throw std::runtime_error(std::string("no process can be started: ") + std::strerror(errno));
  }
  return {number, process, pipe_ends[0], {}};
}

// Reads what there is and passes whole lines on; false at the end.
bool read_events(Child& child, const ChildObserver& observer) {
  std::array<char, 4096> buffer{};
  const ssize_t bytes = read(child.events, buffer.data(), buffer.size());
  if (bytes < 0 && errno == EINTR) return true;
  if (bytes <= 0) return false;
  child.unfinished_line.append(buffer.data(), static_cast<size_t>(bytes));
  for (size_t end; (end = child.unfinished_line.find('\n')) != std::string::npos;) {
    observer.event(child.command, child.unfinished_line.substr(0, end));
    child.unfinished_line.erase(0, end + 1);
  }
  return true;
}

int exit_code(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

void run_children(const std::vector<ChildCommand>& commands, int side_by_side,
                  const ChildObserver& observer) {
  std::vector<Child> running;
  size_t next = 0;
  while (next < commands.size() || !running.empty()) {
    while (next < commands.size() && std::ssize(running) < side_by_side) {
      const size_t number = next++;
      observer.started(number);
      try {
        running.push_back(start(commands[number], number));
      } catch (const InputError& error) {
        observer.ended(number, 2, error.what());
      } catch (const std::runtime_error& error) {
        observer.ended(number, 1, error.what());
      }
    }
    if (running.empty()) continue;  // none of them could start
    std::vector<pollfd> waiting;
    for (const Child& child : running) waiting.push_back({child.events, POLLIN, 0});
    if (poll(waiting.data(), waiting.size(), -1) < 0) continue;  // interrupted
    for (size_t i = running.size(); i-- > 0;) {
      if (waiting[i].revents == 0 || read_events(running[i], observer)) continue;
      const Child ended = running[i];
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
      close(ended.events);
      observer.ended(ended.command, exit_code(ended.process), "");
    }
  }
}

}  // namespace fedclock::tools
