#include "models/learning/pool.h"

#include "models/common/error.h"
#include "models/learning/train.h"

namespace fedclock::learning {

class Pool::Job {
 public:
  std::string label;
  std::function<void()> work;
  std::vector<JobPtr> dependents;
  int missing = 0;  // jobs it still waits for
  bool done = false;
  std::exception_ptr error;
};

namespace {

// The user's error or fedclock's own again, with the job's name in front.
std::exception_ptr with_label(const std::string& label, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const InputError& e) {
    return std::make_exception_ptr(InputError(label + ": " + e.what()));
  } catch (const std::exception& e) {
    return std::make_exception_ptr(std::runtime_error(label + ": " + e.what()));
  } catch (...) {
    return std::make_exception_ptr(std::runtime_error(label + ": an unknown error"));
  }
}

}  // namespace

Pool::Pool(int workers) {
  ensure(workers >= 1, "a pool needs a worker");
  prepare_process();
  for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { run_worker(); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  // Dropped jobs hold their dependents, whose work may hold them: the circles are cut by hand.
  std::vector<JobPtr> dropped(ready_.begin(), ready_.end());
  ready_.clear();
  while (!dropped.empty()) {
    const JobPtr job = std::move(dropped.back());
    dropped.pop_back();
    job->work = nullptr;
    for (JobPtr& dependent : job->dependents) dropped.push_back(std::move(dependent));
    job->dependents.clear();
  }
}

Pool::JobPtr Pool::submit(std::string label, const std::vector<JobPtr>& after,
                          std::function<void()> work) {
  auto job = std::make_shared<Job>();
  job->label = std::move(label);
  job->work = std::move(work);
  const std::lock_guard lock(mutex_);
  ++submitted_;
  std::exception_ptr failed;
  for (const JobPtr& other : after) {
    if (!other->done) {
      other->dependents.push_back(job);
      ++job->missing;
    } else if (other->error) {
      failed = other->error;
    }
  }
  if (failed) job->error = failed;
  if (job->missing == 0) {
    ready_.push_back(job);
    ready_changed_.notify_one();
  }
  return job;
}

void Pool::wait(const JobPtr& job) {
  std::unique_lock lock(mutex_);
  job_finished_.wait(lock, [&] { return job->done; });
  if (job->error) std::rethrow_exception(job->error);
}

int64_t Pool::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

int64_t Pool::submitted() const {
  const std::lock_guard lock(mutex_);
  return submitted_;
}

void Pool::finish(const JobPtr& job, std::exception_ptr error) {
  job->done = true;
  job->error = std::move(error);
  ++finished_;
  for (const JobPtr& dependent : job->dependents) {
    if (job->error && !dependent->error) dependent->error = job->error;
    if (--dependent->missing == 0) {
      ready_.push_back(dependent);
      ready_changed_.notify_one();
    }
  }
  job->dependents.clear();
  job_finished_.notify_all();
}

void Pool::run_worker() {
  prepare_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    ready_changed_.wait(lock, [&] { return stopping_ || !ready_.empty(); });
    if (stopping_) return;
    const JobPtr job = ready_.front();
    ready_.pop_front();
    std::exception_ptr error = job->error;
    std::function<void()> work = std::move(job->work);
    job->work = nullptr;
    lock.unlock();
    if (!error) {
      try {
        work();
      } catch (...) {
        error = with_label(job->label, std::current_exception());
      }
    }
    work = nullptr;  // lets go of the inputs before anyone is told
    lock.lock();
    finish(job, error);
  }
}

}  // namespace fedclock::learning
