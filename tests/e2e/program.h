// Runs the fedclock program as a person would, in a folder that goes away with the test.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace fedclock::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Ran {
  int code = -1;
  std::string out, err;
};

class Workplace {
 public:
  Workplace() {
    std::string name = (std::filesystem::temp_directory_path() / "fedclock_e2e_XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Workplace() { std::filesystem::remove_all(folder_); }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

  // `environment` stands before the command: "OMP_NUM_THREADS=4". The store is the folder's.
  // Commands that run side by side need names of their own for what they print.
  Ran run(const std::string& arguments, const std::string& environment = "",
          const std::filesystem::path& bases = cache(), const std::string& name = "") const {
    return execute(environment + " FEDCLOCK_CACHE='" + bases.string() +
                       "' FEDCLOCK_STORE=store.sqlite " + FEDCLOCK_PROGRAM + " " + arguments,
                   name);
  }
  // Runs the program and sends it the signal `after_ms` after its standard error has shown the
  // text; one that ends before is left alone. The code is 128 and the signal's number where it
  // ended by it.
  Ran run_until(const std::string& arguments, const std::string& shown, int signal,
                int after_ms = 0) const {
    const std::string line = "cd '" + folder_.string() + "' && FEDCLOCK_CACHE='" +
                             cache().string() + "' FEDCLOCK_STORE=store.sqlite exec " +
                             FEDCLOCK_PROGRAM + " " + arguments + " >out.txt 2>err.txt </dev/null";
    std::filesystem::remove(folder_ / "err.txt");
    const pid_t child = fork();
    if (child == 0) {
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    Ran ran;
    int status = 0;
    bool sent = false;
    while (waitpid(child, &status, WNOHANG) == 0) {
      if (!sent && read_file(folder_ / "err.txt").find(shown) != std::string::npos) {
        usleep(static_cast<useconds_t>(after_ms) * 1000);
        kill(child, signal);
        sent = true;
      }
      usleep(1000);
    }
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ran.out = read_file(folder_ / "out.txt");
    ran.err = read_file(folder_ / "err.txt");
    return ran;
  }
  // A line for bash, in this folder, with the same store and bases.
  Ran shell(const std::string& line) const {
    std::ofstream(folder_ / "line.sh") << line << "\n";
    return execute("FEDCLOCK_CACHE='" + cache().string() +
                       "' FEDCLOCK_STORE=\"$PWD/store.sqlite\" bash line.sh",
                   "");
  }

  // One cache for all tests of a process, removed at its end: the tiny base is pretrained once.
  static std::filesystem::path cache() {
    static const struct Cache {
      std::filesystem::path folder;
      Cache() {
        std::string name =
            (std::filesystem::temp_directory_path() / "fedclock_e2e_cache_XXXXXX").string();
        folder = mkdtemp(name.data());
      }
      ~Cache() {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
      }
    } cache;
    return cache.folder;
  }

 private:
  Ran execute(const std::string& command, const std::string& name) const {
    const std::string whole = "cd '" + folder_.string() + "' && " + command + " >" + name +
                              "out.txt 2>" + name + "err.txt </dev/null";
    Ran ran;
    const int status = std::system(whole.c_str());
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ran.out = read_file(folder_ / (name + "out.txt"));
    ran.err = read_file(folder_ / (name + "err.txt"));
    return ran;
  }

  std::filesystem::path folder_;
};

inline std::string tiny_scenario() {
  return std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/data/good/tiny.textproto";
}

}  // namespace fedclock::test
