// Parallel efficiency of the learning: a scenario run with one worker and with more, each in a
// process of its own, in turn, without a store but with its base in the cache.
//   build/release/bench_learning [SCENARIO] [WORKERS] [REPETITIONS]
// prints for each number of workers the median wall and user time, user over wall time per worker,
// and the speed-up over one worker per worker. Both are 1 where nothing waits.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Times {
  double wall_s = 0, user_s = 0;
};

Times run(const std::string& scenario, int workers) {
  const std::filesystem::path out =
      std::filesystem::temp_directory_path() / fmt::format("bench_learning_{}", getpid());
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "fedclock";
  const std::string count = std::to_string(workers);
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    execl(program.c_str(), "fedclock", "run", scenario.c_str(), "--no-store", "--quiet",
          "--workers", count.c_str(), "--overwrite", "--out", out.c_str(),
          static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child || status != 0) {
    throw std::runtime_error("the run failed");
  }
  std::filesystem::remove_all(out);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  return {wall.count(), static_cast<double>(usage.ru_utime.tv_sec) + usage.ru_utime.tv_usec * 1e-6};
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string scenario = argc > 1 ? argv[1] : "scenarios/quickstart.textproto";
  const int workers = argc > 2 ? std::atoi(argv[2]) : 2;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 3;
  run(scenario, workers);  // the base
  std::vector<double> wall[2], user[2];
  for (int i = 0; i < repetitions; ++i) {
    for (const int many : {0, 1}) {
      const Times times = run(scenario, many == 1 ? workers : 1);
      wall[many].push_back(times.wall_s);
      user[many].push_back(times.user_s);
    }
  }
  const double one_s = median(wall[0]);
  fmt::print(
      "{}, medians of {}\nworkers  wall_s  user_s  user/(wall x workers)  speed-up/workers\n",
      scenario, repetitions);
  for (const int many : {0, 1}) {
    const int count = many == 1 ? workers : 1;
    const double wall_s = median(wall[many]), user_s = median(user[many]);
    fmt::print("{:7}  {:6.2f}  {:6.2f}  {:21.3f}  {:16.3f}\n", count, wall_s, user_s,
               user_s / (wall_s * count), one_s / (wall_s * count));
  }
}
