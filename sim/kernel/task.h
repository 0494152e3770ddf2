// A lazily started coroutine: the round of a device, of a server, of a whole experiment.
//
//   Task<double> round(Platform& platform, std::size_t device) {
//     Interval down = co_await platform.download(device, 4e6);
//     Interval busy = co_await platform.compute(device, 1e12);
//     co_return busy.end_s - down.start_s;
//   }
//
// It starts when it is awaited, runs on the thread that runs the simulation, and gives control from
// task to task by symmetric transfer. A task knows what it waits for (a child, a group, an
// operation); cancel() walks down that chain, and the operation at its end resumes with Cancelled.
// An exception of a task comes out of the co_await of whoever awaits it.
//
// Parameters of a coroutine that are references must outlive it, and so must the captures of a
// lambda that is a coroutine: pass by value what may not.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "models/common/error.h"
#include "sim/kernel/outcome.h"

namespace fedclock::kernel {

// What a task can wait for.
class Cancellable {
 public:
  // Makes the wait end with Cancelled, at the current date but not before this call has returned.
  virtual void cancel() = 0;
  // For the message about a simulation that hangs.
  virtual std::string describe() const = 0;

 protected:
  ~Cancellable() = default;
};

// Told when a task has ended; answers who runs next.
class TaskObserver {
 public:
  virtual std::coroutine_handle<> on_task_done(std::size_t index) noexcept = 0;

 protected:
  ~TaskObserver() = default;
};

// The part of a promise that does not depend on the result's type.
class PromiseBase : public Cancellable {
 public:
  PromiseBase() = default;
  PromiseBase(const PromiseBase&) = delete;
  PromiseBase& operator=(const PromiseBase&) = delete;

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      return ended.promise().next_to_run();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  // A task that waits for nothing yet (not started, or running) is cancelled at its next co_await.
  void cancel() override {
    if (ended_) return;
    if (awaiting_ != nullptr) {
      awaiting_->cancel();
    } else {
      cancel_requested_ = true;
    }
  }
  std::string describe() const override {
    return awaiting_ != nullptr ? awaiting_->describe() : "something outside fedclock's kernel";
  }

  // Whether a cancellation is pending; it is delivered once.
  bool take_cancel() noexcept { return std::exchange(cancel_requested_, false); }
  void set_awaiting(Cancellable* awaiting) noexcept { awaiting_ = awaiting; }

  void start_for(std::coroutine_handle<> parent) noexcept {
    started_ = true;
    parent_ = parent;
  }
  void start_for(TaskObserver& observer, std::size_t index) noexcept {
    started_ = true;
    observer_ = &observer;
    index_ = index;
  }
  bool started() const noexcept { return started_; }
  bool ended() const noexcept { return ended_; }
  const std::exception_ptr& error() const noexcept { return error_; }

 protected:
  ~PromiseBase() = default;

 private:
  std::coroutine_handle<> next_to_run() noexcept {
    ended_ = true;
    if (observer_ != nullptr) return observer_->on_task_done(index_);
    return parent_ ? parent_ : std::noop_coroutine();
  }

  Cancellable* awaiting_ = nullptr;
  std::coroutine_handle<> parent_;
  TaskObserver* observer_ = nullptr;
  std::size_t index_ = 0;
  std::exception_ptr error_;
  bool cancel_requested_ = false;
  bool started_ = false;
  bool ended_ = false;
};

template <class T>
class Task;

template <class T>
class Promise final : public PromiseBase {
 public:
  Task<T> get_return_object() noexcept;
  template <class U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
  }
  T take() {
    if (error()) std::rethrow_exception(error());
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};

template <>
class Promise<void> final : public PromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const {
    if (error()) std::rethrow_exception(error());
  }
};

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  // Waits for a task on behalf of another. It has a constructor and no copy because GCC 12 destroys
  // a temporary aggregate in a co_await expression twice.
  class Awaiter {
   public:
    explicit Awaiter(Handle child) noexcept : child_(child) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;

    bool await_ready() const noexcept { return false; }
    template <class ParentPromise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<ParentPromise> parent) noexcept {
      parent_ = &parent.promise();
      if (parent_->take_cancel()) {
        cancelled_ = true;
        return parent;
      }
      parent_->set_awaiting(&child_.promise());
      child_.promise().start_for(parent);
      return child_;
    }
    T await_resume() {
      parent_->set_awaiting(nullptr);
      if (cancelled_) throw Cancelled();
      return child_.promise().take();
    }

   private:
    Handle child_;
    PromiseBase* parent_ = nullptr;
    bool cancelled_ = false;
  };

  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  // A task that has not ended is dropped where it is: what it waits for is given up, and nobody is
  // told. Cancel and await it where that matters.
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // Once for each task. ProgrammerError when it was started before.
  Awaiter operator co_await() const {
    ensure(handle_ && !handle_.promise().started(), "a task is awaited twice, or moved from");
    return Awaiter(handle_);
  }

  // Starts it without an awaiting task; the observer hears of its end. For groups and roots.
  void start(TaskObserver& observer, std::size_t index) {
    ensure(handle_ && !handle_.promise().started(), "a task is started twice, or moved from");
    handle_.promise().start_for(observer, index);
    handle_.resume();
  }
  void cancel() { handle_.promise().cancel(); }
  bool ended() const { return handle_.promise().ended(); }
  const PromiseBase& promise() const { return handle_.promise(); }
  PromiseBase& promise() { return handle_.promise(); }
  // The result of a task that has ended, once; rethrows its error.
  T take() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

template <class T>
Task<T> Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}

inline Task<void> Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace fedclock::kernel
