#include "models/learning/pool.h"

#include <exception>
#include <latch>

#include "models/common/error.h"
#include "models/learning/train.h"

namespace fedclock::learning {

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
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::submit(int64_t order, Work work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(std::pair(order, submitted_++), std::move(work));
  }
  changed_.notify_one();
}

void Pool::run(const std::vector<Work>& works) {
  std::vector<std::exception_ptr> errors(works.size());
  std::latch left(static_cast<std::ptrdiff_t>(works.size()));
  for (size_t i = 0; i < works.size(); ++i) {
    submit(static_cast<int64_t>(i), [&, i] {
      try {
        works[i]();
      } catch (...) {
        errors[i] = std::current_exception();
      }
      left.count_down();
    });
  }
  left.wait();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

void Pool::run_worker() {
  prepare_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const Work work = std::move(waiting_.extract(waiting_.begin()).mapped());
    lock.unlock();
    work();
    lock.lock();
  }
}

}  // namespace fedclock::learning
