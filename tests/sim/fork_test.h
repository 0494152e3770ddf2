// Runs a simulation in a process of its own. SimGrid's clock does not go back, so a test program
// can hold one simulation only; each test forks, and the child hands back numbers or the text of
// what it threw. The parent must not touch SimGrid, and the child must not use Catch2's macros.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace fedclock::test {

struct Forked {
  std::vector<double> values;
  std::string error;  // empty if the function returned
};

namespace detail {

inline void write_all(int file, const void* data, std::size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file, bytes, size);
    if (written <= 0) _exit(3);
    bytes += written;
    size -= static_cast<std::size_t>(written);
  }
}

[[noreturn]] inline void run_child(int file, const std::function<std::vector<double>()>& run) {
  alarm(300);  // a hang ends as an error that names signal 14
  char status = 'v';
  std::vector<double> values;
  std::string error;
  try {
    values = run();
  } catch (const std::exception& thrown) {
    status = 'e';
    error = thrown.what();
  } catch (...) {
    status = 'e';
    error = "something that is no std::exception";
  }
  write_all(file, &status, 1);
  if (status == 'v') {
    write_all(file, values.data(), values.size() * sizeof(double));
  } else {
    write_all(file, error.data(), error.size());
  }
  std::fflush(nullptr);
  int code = 0;
#if defined(__SANITIZE_ADDRESS__)
  if (__lsan_do_recoverable_leak_check() != 0) code = 4;
#endif
  _exit(code);
}

}  // namespace detail

inline Forked run_forked(const std::function<std::vector<double>()>& run) {
  std::fflush(nullptr);
  int ends[2];
  if (::pipe(ends) != 0) return {{}, "no pipe"};
  const pid_t child = ::fork();
  if (child < 0) return {{}, "no fork"};
  if (child == 0) {
    ::close(ends[0]);
    detail::run_child(ends[1], run);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = ::read(ends[0], buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return {{}, "ended by signal " + std::to_string(WTERMSIG(status))};
  if (WEXITSTATUS(status) == 4) return {{}, "leaks memory"};
  if (text.empty() || WEXITSTATUS(status) != 0) {
    return {{}, "exit code " + std::to_string(WEXITSTATUS(status)) + " without a result"};
  }
  if (text[0] == 'e') return {{}, text.substr(1)};
  Forked result;
  result.values.resize((text.size() - 1) / sizeof(double));
  text.copy(reinterpret_cast<char*>(result.values.data()), text.size() - 1, 1);
  return result;
}

}  // namespace fedclock::test
