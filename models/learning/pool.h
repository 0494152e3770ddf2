// A pool of threads that runs jobs when the jobs they depend on have finished.
//
// Results never depend on the number of workers: jobs are pure functions of their inputs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fedclock::learning {

class Pool {
 public:
  class Job;
  using JobPtr = std::shared_ptr<Job>;

  // Starts this many threads (at least 1), each prepared by prepare_thread().
  explicit Pool(int workers);
  // Finishes the jobs that are running and drops the others.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs `work` when all of `after` have finished, in order of submission among those ready. If one
  // of `after` failed, the job fails with the same error. `label` names it in errors.
  JobPtr submit(std::string label, const std::vector<JobPtr>& after, std::function<void()> work);

  // Waits for the job; throws what it threw.
  void wait(const JobPtr& job);

  int64_t finished() const;
  int64_t submitted() const;

 private:
  void run_worker();
  void finish(const JobPtr& job, std::exception_ptr error);  // with mutex_ held

  mutable std::mutex mutex_;
  std::condition_variable ready_changed_, job_finished_;
  std::deque<JobPtr> ready_;
  int64_t submitted_ = 0, finished_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fedclock::learning
