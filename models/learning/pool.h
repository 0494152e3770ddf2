// A pool of threads for jobs that are pure functions of their inputs: results never depend on the
// number of workers.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace fedclock::learning {

class Pool {
 public:
  using Work = std::function<void()>;

  // Starts this many threads (at least 1), each prepared by prepare_thread().
  explicit Pool(int workers);
  // Finishes what is running and drops the rest.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs `work`, which must not throw, when a thread is free: the smallest `order` first, of equal
  // ones in the order of submission.
  void submit(int64_t order, Work work);
  // Runs all of them and waits; throws the first one's error.
  void run(const std::vector<Work>& works);

 private:
  void run_worker();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int64_t, int64_t>, Work> waiting_;  // by order and number
  int64_t submitted_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fedclock::learning
